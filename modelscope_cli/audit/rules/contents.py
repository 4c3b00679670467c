"""What files hold, told from their first and last bytes: duplicates, polyglots, wrong names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelscope_cli.audit import defects
from modelscope_cli.audit.finding import WARNING, Flaw
from modelscope_cli.audit.subject import Subject
from modelscope_cli.errors import MscopeError
from modelscope_cli.formats import base, signatures
from modelscope_cli.formats.containers import zips
from modelscope_cli.sources.tree import FILE, Entry

_HEAD_BYTES = 512
_LOCAL = b"PK\3\4"
_MOST_FILES = 5_000
_LEAST_SIZE = 64  # bytes: smaller files are alike by chance

# Endings of text that nobody loads as weights, so that weights in them are hidden.
_TEXTS = (".json", ".txt", ".md", ".py", ".yaml", ".yml", ".toml", ".jinja", ".csv", ".model")
_PROGRAMS = (b"\x7fELF", b"MZ", b"7z\xbc\xaf\x27\x1c", b"Rar!")


def _looked_at(subject: Subject) -> list[Entry]:
    """Files whose bytes are looked at: on the Hub weights alone, each is a request."""
    files = [each for each in subject.files if each.kind == FILE and each.size > 0]
    if subject.is_remote:
        files = [each for each in files if base.by_ending(each.path) is not None]
    return files[:_MOST_FILES]


def polyglots(subject: Subject) -> Iterator[Flaw]:
    """Files that end as a zip archive does and do not begin as one."""
    for each in _looked_at(subject):
        try:
            with subject.open(each.path) as file:
                if file.read_at(0, min(file.size, 4)) == _LOCAL or not zips.has_directory(file):
                    continue
                what = base.by_content(file.read_at(0, min(file.size, 16)))
        except MscopeError:  # a rule of its own says what cannot be read
            continue
        kind = what.name if what is not None else "another format"
        yield Flaw(f"{each.path}: is {kind} at its start, and a zip archive at its end", each.path)


def misnamed(subject: Subject) -> Iterator[Flaw]:
    """Files whose first bytes are those of another format than their names'."""
    for each in _looked_at(subject):
        try:
            head = subject.start(each.path, _HEAD_BYTES)
        except MscopeError:
            continue
        if (flaw := _misnamed(each.path, head)) is not None:
            yield flaw


def _misnamed(path: str, head: bytes) -> Flaw | None:
    promised, found = base.by_ending(path), base.by_content(head[:16])
    if promised is None and not path.lower().endswith(_TEXTS):
        return None
    if found is not None and found is not promised:
        severity = None if found.name == "torch" else WARNING
        article = "a pickle or archive of torch" if found.name == "torch" else found.name
        return Flaw(f"{path}: holds {article} by its first bytes", path, severity=severity)
    if found is None and head.startswith(_PROGRAMS):
        return Flaw(f"{path}: is {signatures.looks_like(head)} by its first bytes", path)
    return None


def duplicates(subject: Subject) -> Iterator[Flaw]:
    """Weight files of one size that are the same file, or hold the same bytes where looked."""
    if subject.is_remote:
        return
    by_size: dict[int, list[Entry]] = {}
    for path in defects.weights(subject.files):
        entry = subject.by_path[path]
        if entry.size >= _LEAST_SIZE:
            by_size.setdefault(entry.size, []).append(entry)
    for alike in by_size.values():
        yield from _same(subject, alike)


def _same(subject: Subject, alike: Sequence[Entry]) -> Iterator[Flaw]:
    firsts: list[Entry] = []
    for each in alike:
        twin = next((first for first in firsts if _hold_the_same(subject, first, each)), None)
        if twin is None:
            firsts.append(each)
        else:
            yield Flaw(f"{each.path}: holds the same as {twin.path}", each.path)


def _hold_the_same(subject: Subject, one: Entry, other: Entry) -> bool:
    if one.end is not None and one.end == other.end:
        return True
    try:
        with subject.open(one.path) as a, subject.open(other.path) as b:
            return all(a.read_at(*place) == b.read_at(*place) for place in _places(one.size))
    except MscopeError:
        return False


_WHOLE = 1 << 24  # bytes; larger files are compared in pieces
_PIECE, _PIECES = 1 << 16, 128


def _places(size: int) -> Iterator[tuple[int, int]]:
    """Offsets and lengths: all of a file, or 128 pieces of 64 KiB all over a larger one."""
    if size <= _WHOLE:
        yield from ((at, min(_PIECE, size - at)) for at in range(0, size, _PIECE))
        return
    for number in range(_PIECES):
        yield (size - _PIECE) * number // (_PIECES - 1), _PIECE
