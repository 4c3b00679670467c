"""The two members of torch's old tar files in which pickles and numbers take turns.

Layout: `torch.serialization._load` with `legacy_load`: storages.tar of 2016 and 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from modelscope_cli.formats.containers.parts import Part
from modelscope_cli.formats.containers.runs import Run, runs
from modelscope_cli.formats.torch_globals import STORAGES
from modelscope_cli.sources.base import OpenFile

MAX_RECORDS = 100_000


def turns(file: OpenFile, member: str) -> Iterator[Run]:
    """The count's pickle, then each record's, the numbers behind each passed over."""
    behind = _BEHIND[member]
    at = 0
    for record in range(MAX_RECORDS):
        run = next(runs(Part(file, file.path, at, file.size - at), record == 0), None)
        if run is None:
            return
        yield run
        at += run.listed.end
        if record:
            at += behind(file, at, run)


def _storage(file: OpenFile, at: int, run: Run) -> int:
    """i64 elements, then so many of them."""
    kinds = [STORAGES.get(".".join(name)) for name in run.listed.names]
    size = next((kind.block_bytes for kind in kinds if kind is not None), 1)
    return 8 + max(0, _integer(file, at, 8)) * size


def _tensor(file: OpenFile, at: int, _run: Run) -> int:
    """i32 dimensions, 4 bytes, then i64 sizes, strides, and an offset."""
    return 8 + 16 * max(0, _integer(file, at, 4)) + 8


def _integer(file: OpenFile, at: int, size: int) -> int:
    data = file.read_at(at, size) if at + size <= file.size else b""
    return int.from_bytes(data, "little", signed=True)


_BEHIND: dict[str, Callable[[OpenFile, int, Run], int]] = {"storages": _storage, "tensors": _tensor}
