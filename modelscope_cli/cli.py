"""The Typer app, and `main`: the one place where an error becomes a message and an exit code."""

# No `from __future__ import annotations`: Typer evaluates signatures at run time.

import gc
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.main import get_command

from modelscope_cli import __version__, completion, output
from modelscope_cli.commands import COMMANDS, GROUPS, Command
from modelscope_cli.errors import MscopeError
from modelscope_cli.escape import one_line
from modelscope_cli.options import Answer
from modelscope_cli.parsing import SettingsCommand

PROGRAM = "mscope"
INTERRUPTED = 130
_OWN_FAULT = 70
_HELP = {"help_option_names": ["-h", "--help"]}
_INTRO = """A microscope for Hugging Face models: everything about a model without loading it.

Examples:

\b
    mscope params                        the built-in example model
    mscope params ./my-model --by dtype  a folder on disk
    mscope pack --shape 4096x14336       packing, step by step
"""


def run() -> None:
    """The console script."""
    # The process lives for one answer and makes no garbage cycles worth finding: looking for
    # them took a tenth of the time to list 90,000 tensors.
    gc.disable()
    _open_closed_streams()
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run the program; returns its exit code. Nothing but this prints an error."""
    try:
        answer = _invoke(list(argv))
        if not isinstance(answer, Answer):
            output.write()  # the help may still be in a buffer
            return answer or 0
        return output.emit(answer.report, answer.output.destination(), answer.looked_at)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except SystemExit:  # Typer, printing help, met a pipe that nobody reads any more
        return 0
    except typer.TyperException as error:
        return _refused(error.format_message(), _usage_hint(argv), getattr(error, "exit_code", 2))
    except MscopeError as error:
        _raise_if_debugging()
        return _refused(error.message, error.hint, error.exit_code)
    except Exception as error:
        _raise_if_debugging()
        return _refused(
            f"a fault of mscope itself: {type(error).__name__}: {error}",
            "please report it with the output of the same command under MSCOPE_DEBUG=1",
            _OWN_FAULT,
        )


def _invoke(argv: list[str]) -> Any:
    if completion.requested(PROGRAM):
        return completion.answer(get_command(_app(None, every=True)), PROGRAM)
    if not argv or (len(argv) == 1 and argv[0] in GROUPS):
        argv = [*argv, "--help"]
    app = get_command(_app(_asked(argv)))
    return app.main(argv, prog_name=PROGRAM, standalone_mode=False)


def _asked(argv: Sequence[str]) -> str | None:
    """The command that stands on the line, of two words where the first names a group."""
    words = [word for word in argv if not word.startswith("-")][:2]
    return " ".join(words[: 2 if words[:1] and words[0] in GROUPS else 1]) or None


def _app(asked: str | None, *, every: bool = False) -> typer.Typer:
    """The app with only the command asked for built: all of them cost 20 ms."""
    app = typer.Typer(add_completion=False, context_settings=_HELP, rich_markup_mode="rich")
    app.callback(help=_INTRO)(_top_level)
    groups: dict[str, typer.Typer] = {}
    for row in COMMANDS.values():
        group, _, name = row.name.rpartition(" ")
        if group and group not in groups:
            groups[group] = _group(app, group)
        wanted = every or row.name == asked
        _register(groups.get(group, app), row, name, row.load() if wanted else _not_asked_for)
    return app


def _group(app: typer.Typer, name: str) -> typer.Typer:
    group = typer.Typer(context_settings=_HELP, rich_markup_mode="rich", help=GROUPS[name])
    app.add_typer(group, name=name)
    return group


def _register(app: typer.Typer, row: Command, name: str, function: Any) -> None:
    app.command(
        name,
        cls=SettingsCommand,
        short_help=row.help,
        epilog=row.epilog,
        context_settings=_HELP,
    )(function)


def _not_asked_for() -> None:
    """Stand in for a command that `--help` only names."""


def _print_version(wanted: bool) -> None:
    if wanted:
        output.write(f"{PROGRAM} {__version__}\n")
        raise typer.Exit


def _show_completion(shell: str | None) -> None:
    if shell is not None:
        output.write(completion.script(shell))
        raise typer.Exit


def _top_level(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_print_version, is_eager=True, help="Show the version."
        ),
    ] = False,
    show_completion: Annotated[
        str | None,
        typer.Option(
            metavar=f"[{'|'.join(completion.SHELLS)}]",
            callback=_show_completion,
            is_eager=True,
            autocompletion=lambda: list(completion.SHELLS),
            help="Print the completion script of a shell.",
        ),
    ] = None,
) -> None:
    """Options before any command."""


def _refused(message: str, hint: str | None, code: int) -> int:
    sys.stderr.write(f"{PROGRAM}: error: {one_line(message)}\n")
    if hint:
        sys.stderr.write(f"{PROGRAM}: hint: {one_line(hint)}\n")
    return code


def _usage_hint(argv: Sequence[str]) -> str:
    first = next((word for word in argv if not word.startswith("-")), "")
    if first not in {*COMMANDS, *GROUPS} and (
        os.path.exists(first) or "/" in first or ":" in first
    ):
        return f"a command comes first: {PROGRAM} params {first}"
    command = _asked(argv)
    if command not in COMMANDS:
        command = first if first in GROUPS else None
    return f"see '{PROGRAM} {command} --help'" if command else f"see '{PROGRAM} --help'"


def _open_closed_streams() -> None:
    """Python has None for a stream that the shell closed (`2>&-`)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _raise_if_debugging() -> None:
    if os.environ.get("MSCOPE_DEBUG") == "1":
        raise  # called from an except block: the traceback is what was asked for
