"""What a source is: a list of files, and bytes at an offset of any of them."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Protocol

from modelscope_cli.facts import ModelRef


class Extent(NamedTuple):
    """Bytes of a file that will be wanted; there may be fewer."""

    path: str
    offset: int
    length: int


class OpenFile(Protocol):
    """One opened file. `path` is relative to the model and names the file in errors."""

    path: str
    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`. Raises TruncatedFile where they are not there."""
        ...

    def __enter__(self) -> OpenFile: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Source(Protocol):
    """Where a model lies. Paths are relative to the model, `/` between the parts."""

    ref: ModelRef

    def files(self, folder: str = "") -> dict[str, int]:
        """Files directly in `folder` (links followed) and their sizes in bytes, by name."""
        ...

    def folders(self, folder: str = "") -> list[str]:
        """Names of the folders directly in `folder`."""
        ...

    def open(self, path: str) -> OpenFile:
        """Open one file. Raises NotFound, or NotARegularFile for a FIFO, socket or device."""
        ...

    def expect(self, wanted: Sequence[Extent]) -> None:
        """Hear what will be read: a source far away asks for all of it at once."""
        ...
