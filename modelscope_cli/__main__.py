"""`python -m modelscope_cli` is `mscope`."""

from modelscope_cli.cli import run

if __name__ == "__main__":
    run()
