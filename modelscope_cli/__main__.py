"""Where the process starts: `mscope`, and `python -m modelscope_cli`."""

import sys


def run() -> None:
    """The console script."""
    try:
        # Imported in here, so that Ctrl-C in the first 60 ms ends as quietly as later.
        from modelscope_cli import cli

        cli.run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
