"""Where a report goes: stdout in the format asked for, and files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from modelscope_cli.errors import UsageError
from modelscope_cli.escape import one_line
from modelscope_cli.facts import Note
from modelscope_cli.render import ENDINGS, RENDERERS, Renderer
from modelscope_cli.report import Report


class Destination(NamedTuple):
    """What the shared output options ask for."""

    format: str = "table"
    files: Sequence[str] = ()
    units: str = "iec"
    color: str = "auto"
    quiet: bool = False


def check(destination: Destination, *, of_checks: bool = False) -> None:
    """Refuse files of no known format before anything is read. Raises UsageError.

    `of_checks`: the report will be of rules, which CI services have formats for.
    """
    for path in destination.files:
        if (renderer := _renderer_for(path, of_checks=of_checks)).of_checks and not of_checks:
            raise UsageError(f"{path}: {renderer.name} is for what `mscope audit` finds")


def _require_writable(path: str, roots: Sequence[str]) -> None:
    """Raises UsageError for a place where no file can be, or where a model's own file is.

    `roots` are folders and files that were looked at; an HF snapshot's links lead out of it, to
    what they name.
    """
    folder, name = os.path.split(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise UsageError(f"{path}: cannot be written: there is no folder {folder}")
    if os.path.isdir(path):
        raise UsageError(f"{path}: cannot be written: it is a folder")
    if not os.path.lexists(path) or _is_ours(path):
        return
    itself = os.path.join(os.path.realpath(folder), name)
    for each in (itself, os.path.realpath(path)):
        if any(f"{each}{os.sep}".startswith(root) for root in roots):
            raise UsageError(
                f"{path}: not written: it is there already, in the model that is looked at",
                "write to another name or folder",
            )


def _roots(model: str) -> Iterable[str]:
    """What must not be written to: the folder, the file; of a cached repo its blobs too."""
    paths = [model]
    for place in (os.path.abspath(model), os.path.realpath(model)):
        parts = place.split(os.sep)
        cached = [i for i, part in enumerate(parts) if part.startswith("models--")]
        paths += [os.sep.join(parts[: cached[-1] + 1])] if cached else []
    return [os.path.join(os.path.realpath(path), "") for path in paths]


def _is_ours(path: str) -> bool:
    """Whether a file is a document that an earlier run wrote: that may be written anew."""
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as stream:
            return b'"schema": "mscope/' in stream.read(64)
    except OSError:
        return False


def emit(report: Report, destination: Destination, looked_at: Iterable[str | None] = ()) -> int:
    """Write the report everywhere it should go, notes to stderr; returns the exit code.

    A place that cannot be written takes none of the others with it: what is wrong with each is
    said when all the rest is there. `looked_at` are folders and files whose contents stay as they
    are. Raises UsageError.
    """
    for note in report.notes:
        say(note, quiet=destination.quiet)
    failed: list[UsageError] = []
    with _put_off(failed):
        if not report.streamed:
            _to_stdout(_pieces_for_stdout(report, destination))
    _annotate(report, destination)
    roots = [root for path in looked_at if path is not None for root in _roots(path)]
    for path in destination.files:
        with _put_off(failed):
            _require_writable(path, roots)
            _to_file(path, _pieces(report, _renderer_for(path), destination.units, terminal=False))
    if failed:
        raise _together(failed)
    return report.exit_code


@contextlib.contextmanager
def _put_off(failed: list[UsageError]) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        failed.append(error)


def _together(errors: Sequence[UsageError]) -> UsageError:
    if len(errors) == 1:
        return errors[0]
    return UsageError("; ".join(each.message for each in errors), errors[0].hint)


def _annotate(report: Report, destination: Destination) -> None:
    """In a job of GitHub's, findings show beside the code; the runner reads stderr, too."""
    if report.checks is None or destination.format == "github":
        return
    if _true(os.environ.get("GITHUB_ACTIONS")):
        sys.stderr.writelines(_pieces(report, RENDERERS["github"], "iec", terminal=False))


def say(note: Note, *, quiet: bool = False) -> None:
    """A note or warning on stderr; `quiet` mutes notes only."""
    if note.warning or not quiet:
        label = "warning" if note.warning else "note"
        sys.stderr.write(f"mscope: {label}: {one_line(note.text)}\n")


def is_terminal(color: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether stdout is drawn as on a terminal: it is one, and no CI runner is looking."""
    if color == "always":
        return True
    return sys.stdout.isatty() and not _true(environ.get("CI")) and environ.get("TERM") != "dumb"


def _true(value: str | None) -> bool:
    return value is not None and value.lower() not in ("", "0", "false", "no")


_NO_WIDTH = 100_000  # characters: nothing is narrowed where nobody's terminal is asked


def drawn_width() -> int:
    """Characters a drawn table may take: the terminal's, or as many as it likes in a pipe."""
    from shutil import get_terminal_size

    return get_terminal_size().columns if sys.stdout.isatty() else _NO_WIDTH


def _pieces_for_stdout(report: Report, destination: Destination) -> Iterator[str]:
    terminal = is_terminal(destination.color)
    renderer = RENDERERS[destination.format]
    if renderer.name != "table" or not terminal:
        return _pieces(report, renderer, destination.units, terminal=False)
    from modelscope_cli.render import terminal as drawing  # rich: 25 ms, only for a terminal

    return drawing.render(
        report,
        units=destination.units,
        folded=report.fold is not False,
        width=drawn_width(),
        color=destination.color == "always"
        or (destination.color == "auto" and not os.environ.get("NO_COLOR")),
    )


def _pieces(report: Report, renderer: Renderer, units: str, *, terminal: bool) -> Iterator[str]:
    folded = (terminal or renderer.folds) if report.fold is None else report.fold
    return renderer.load()(report, units=units, folded=folded)


def _renderer_for(path: str, *, of_checks: bool = True) -> Renderer:
    ending = os.path.splitext(path)[1].lower()
    if ending not in ENDINGS:
        fits = (each for each, row in ENDINGS.items() if of_checks or not row.of_checks)
        known = " ".join(sorted(fits))
        raise UsageError(f"{path}: no output format has the ending {ending!r}", f"one of {known}")
    return ENDINGS[ending]


def _to_stdout(pieces: Iterable[str]) -> None:
    if hasattr(sys.stdout, "reconfigure"):
        # A name the console's encoding lacks is shown as an escape, not as a traceback.
        sys.stdout.reconfigure(errors="backslashreplace")
    with _stdout_that_may_close():
        for block in _blocks(pieces):
            sys.stdout.write(block)
        sys.stdout.flush()


def write(text: str = "") -> None:
    """Write a text that is no report, and what was printed before it. Raises UsageError."""
    with _stdout_that_may_close():
        sys.stdout.write(text)
        sys.stdout.flush()


@contextlib.contextmanager
def _stdout_that_may_close() -> Iterator[None]:
    """`| head` has seen enough: no error. A full disk behind `>`: UsageError."""
    try:
        yield
    except OSError as error:
        # Python would complain again when it closes stdout.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise UsageError(f"stdout cannot be written: {error.strerror}") from error


def _blocks(pieces: Iterable[str]) -> Iterator[str]:
    """Pieces gathered to some 64 kB: unbuffered stdout would cost a system call a line."""
    block: list[str] = []
    length = 0
    for piece in pieces:
        block.append(piece)
        length += len(piece)
        if length > _BLOCK:
            yield "".join(block)
            block, length = [], 0
    yield "".join(block)


_BLOCK = 65_536


def _to_file(path: str, pieces: Iterable[str]) -> None:
    """Write beside the target and rename, so that no reader ever sees half a file."""
    import tempfile  # 5 ms, only where a file is asked for

    folder, name = os.path.split(os.path.abspath(path))
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(pieces)
        os.chmod(temporary, _default_mode())
        os.replace(temporary, path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _default_mode() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
