"""The pickles in a run of bytes: one, several in a row, and those inside their literals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from modelscope_cli.formats.pickles.listing import (
    REGISTRY,
    Listed,
    Steps,
    announced,
    gave_up,
    is_cut,
    list_globals,
)
from modelscope_cli.sources.base import OpenFile

MAX_PICKLE_BYTES = 64_000_000  # 500,000 tensors' pickle
MAX_IN_A_ROW = 10_000
_FIRST_BYTES = 65_536

MAGICS = tuple(bytes([0x80, protocol]) for protocol in range(6))
_LEGACY = 0x1950A86A20F9469CFC6C  # what torch.save began with before 1.6
_LEGACY_MAGICS = (_LEGACY.to_bytes(10, "little"), str(_LEGACY).encode())
_LEGACY_PICKLES = 5  # then come the storages' bytes


class Run(NamedTuple):
    """One pickle of a run. `unseen` says why what comes after was not looked at."""

    listed: Listed
    unseen: str | None = None


class Window:
    """The start of a file, read further where a pickle goes on."""

    def __init__(self, file: OpenFile) -> None:
        self.file = file
        self.most = min(file.size, MAX_PICKLE_BYTES)
        self.data = file.read_at(0, min(self.most, _FIRST_BYTES))

    def more(self, data: bytes) -> bytes | None:
        """`data` and more behind it; None where there is none, or no more is allowed."""
        wanted = min(self.most, 4 * len(data))
        if wanted <= len(data):
            return None
        self.data = data + self.file.read_at(len(data), wanted - len(data))
        return self.data


def runs(file: OpenFile, certain: bool, left: Steps | None = None) -> Iterator[Run]:
    """The pickles from the start of a file on, as far as there is one behind the other.

    `certain`: its name says that it is one; else it must begin as one, or call a global of a name
    that can be one. A pickle that breaks before it names anything can do nothing: it is none.
    `left` are the opcodes that it shares with other pickles.
    """
    window = Window(file)
    at, legacy = 0, False
    for count in range(MAX_IN_A_ROW):
        listed, _ = list_globals(file.path, window.data, start=at, more=window.more, left=left)
        cut = _goes_on(listed, window)
        one = _is_one(listed, window.data[at : at + 2] in MAGICS or (certain and not count), cut)
        if listed.broken is not None and not one:
            return
        if one:
            yield Run(listed, _why(listed, file.path, window.most) if cut else None)
        first = window.data[: listed.end] if count == 0 else b""
        legacy = legacy or any(magic in first for magic in _LEGACY_MAGICS)
        if listed.broken is not None or (legacy and count + 1 == _LEGACY_PICKLES):
            return
        at = listed.end
        if at >= len(window.data) and window.more(window.data) is None:
            return
    nothing = Listed((), frozenset(), (), at)
    yield Run(nothing, f"holds more than {MAX_IN_A_ROW:,} pickles in a row")


def _why(listed: Listed, path: str, most: int) -> str:
    """Why no more was looked at; which file it is stands beside it."""
    if is_cut(listed):
        return f"goes on beyond {most:,} bytes"
    return str(listed.broken).removeprefix(f"{path}: ")


def _goes_on(listed: Listed, window: Window) -> bool:
    """Whether an unpickler would go on where this ended: a longer file may hold what is asked."""
    if gave_up(listed):
        return True
    if not is_cut(listed) or window.most == window.file.size:
        return False
    asked = announced(window.data, listed.end)
    return asked is None or listed.end + asked <= window.file.size


def _is_one(listed: Listed, promised: bool, goes_on: bool) -> bool:
    if listed.broken is not None and not listed.names:
        return goes_on
    return promised or any(map(_is_plausible, listed.called))


def _is_plausible(name: tuple[str, str]) -> bool:
    """Whether it can be a module and an attribute: text that looks like opcodes has others.

    A number in a registry is none: to fill that, another must be called before.
    """
    return name[0] != REGISTRY and "".join(name).replace(".", "").replace("?", "x").isidentifier()
