"""Rows for the tensors of a torch file: shapes and places checked, storages accounted for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from modelscope_cli.dtypes import DTYPES, DType
from modelscope_cli.errors import FormatError
from modelscope_cli.facts import Note, Shape, TensorTable
from modelscope_cli.formats.base import MAX_DIMENSIONS, MAX_ELEMENTS, checked_elements
from modelscope_cli.formats.torch_globals import PickledStorage, Sparse, Storage, Tensor, Wrapper
from modelscope_cli.formats.torch_names import Named
from modelscope_cli.units import counted

MAX_SHARED_NAMES = 10_000

# torch counts a packed float4 pair as one element; safetensors, whose name the dtype has,
# counts both. So does a row: `elements` are weights.
_PAIRED = "F4"
# torch counts every weight here, and packs each row into whole bytes.
_PACKED_ROWS = {"QU4X2": 2, "QU2X4": 4}


class BadShape(FormatError):
    """A size, stride or offset is no whole number that a tensor can have."""


class TooManyDimensions(FormatError):
    """More dimensions than torch has."""


class TensorOutsideStorage(FormatError):
    """A tensor reaches beyond the end of its storage."""


class Place(NamedTuple):
    """Where a storage's bytes lie: `start` in the file, None where they are compressed."""

    start: int | None
    bytes: int


Places = Callable[[Storage | PickledStorage], tuple[Storage, Place]]


class Extent(NamedTuple):
    """What a tensor spans: `bytes` from `start` in the file's storage of that number."""

    storage: int
    start: int
    bytes: int


class Listing(NamedTuple):
    """All rows, groups of names, the storages used, what to say.

    `shared` tensors look into one storage, each at its own part perhaps; `same` ones are the
    same numbers in the same shape. `extents` are by name, of tensors whose bytes are not theirs
    alone or fewer than their elements take.
    """

    table: TensorTable
    shared: list[list[str]]
    same: list[list[str]]
    extents: dict[str, Extent]
    used: set[str]
    notes: list[Note]


_View = tuple[int, str, Shape, object]  # start in the storage, dtype, shape, stride


class _Lister:
    def __init__(self, file: str, places: Places) -> None:
        self.file = file
        self.places = places
        self.table = TensorTable()
        self.users: dict[str, dict[str, _View]] = {}  # by storage, then by name
        self.spans: dict[str, list[tuple[str, int, int, int]]] = {}  # as extents, and row bytes
        self.without_data = 0
        self.sparse: list[str] = []

    def add(self, name: str, item: Tensor | Sparse | Wrapper) -> None:
        if type(item) is Tensor:
            self._tensor(name, item)
        elif isinstance(item, Sparse):
            self._sparse(name, item)
        elif isinstance(item, Wrapper):
            self._tensor(name, Tensor(None, 0, item.shape, item.stride, item.dtype))

    def _tensor(self, name: str, tensor: Tensor) -> None:
        row = self._row(name, tensor)
        self.table.append(name, row.dtype.name, row.shape, row.elements, row.bytes, self.file,
                          row.offset)  # fmt: skip

    def _row(self, name: str, tensor: Tensor) -> _Row:
        measured = _measure(tensor.shape, tensor.stride)
        if measured is None:
            raise _defect(self.file, name, tensor)
        shape, elements, reach = measured
        if tensor.storage is None:
            self.without_data += bool(elements)
            return _row(tensor.dtype or DTYPES["F32"], shape, elements, None)
        storage, place = self.places(tensor.storage)
        dtype = tensor.dtype or storage.dtype
        if dtype.name in _PACKED_ROWS:
            reach = _packed_bytes(dtype, shape)
        start = self._start(name, tensor, dtype.block_bytes, reach if elements else 0, storage)
        view = (start, dtype.name, shape, tensor.stride)
        self.users.setdefault(storage.key, {})[name] = view
        row = _row(dtype, shape, elements, None if place.start is None else place.start + start)
        span = name, start, reach * dtype.block_bytes if elements else 0, row.bytes
        self.spans.setdefault(storage.key, []).append(span)
        return row

    def _start(self, name: str, tensor: Tensor, item: int, reach: int, storage: Storage) -> int:
        """Where the tensor starts in its root storage, in bytes. Raises if it ends outside."""
        offset = tensor.offset
        if type(offset) is not int or not 0 <= offset <= MAX_ELEMENTS:
            raise BadShape(self.file, "has no proper storage offset", tensor=name)
        end = (offset + reach) * item
        if end > storage.bytes and reach:
            what = f"ends at byte {end:,} of a storage of {storage.bytes:,}"
            raise TensorOutsideStorage(self.file, what, tensor=name)
        return storage.start * storage.dtype.block_bytes + offset * item

    def _sparse(self, name: str, item: Sparse) -> None:
        measured = _measure(item.shape, item.shape)
        if measured is None:
            raise _defect(self.file, name, Tensor(None, 0, item.shape, item.shape))
        shape, elements, _ = measured
        rows = [self._row(name, part) for part in item.parts]
        dtype = rows[-1].dtype  # the values come last
        self.sparse.append(name)
        stored = sum(row.bytes for row in rows)
        self.table.append(name, dtype.name, shape, elements, stored, self.file, None)

    def extents(self) -> dict[str, Extent]:
        """By name; a name that two tensors have tells nothing of either."""
        found: dict[str, Extent] = {}
        several: set[str] = set(self.sparse)
        for number, spans in enumerate(self.spans.values()):
            for name, start, size, stored in spans:
                if name in found:
                    several.add(name)
                if len(spans) > 1 or size < stored:
                    found[name] = Extent(number, start, size)
        return {name: extent for name, extent in found.items() if name not in several}

    def notes(self) -> list[Note]:
        notes = []
        if self.sparse:
            what = f"{counted(len(self.sparse), 'sparse tensor')}: dense shape, bytes as stored"
            notes.append(Note(f"{self.file}: {what} ({self.sparse[0]!r} first)"))
        if self.without_data:
            what = f"{counted(self.without_data, 'tensor')} without data in the file (meta device)"
            notes.append(Note(f"{self.file}: {what}; bytes are what it would take", warning=True))
        return notes


class _Row(NamedTuple):
    dtype: DType
    shape: Shape
    elements: int
    bytes: int
    offset: int | None


def _row(dtype: DType, shape: Shape, elements: int, offset: int | None) -> _Row:
    if dtype.name in _PACKED_ROWS:
        return _Row(dtype, shape, elements, _packed_bytes(dtype, shape), offset)
    if dtype.name == _PAIRED:
        shape = (*shape[:-1], 2 * shape[-1]) if shape else (2,)
        return _Row(dtype, shape, 2 * elements, elements, offset)
    return _Row(dtype, shape, elements, elements * dtype.block_bytes, offset)


def _packed_bytes(dtype: DType, shape: Shape) -> int:
    size = 1
    for rows in shape[:-1]:
        size *= rows
    return size * -(-(shape[-1] if shape else 1) // _PACKED_ROWS[dtype.name])


def _measure(shape: object, stride: object) -> tuple[Shape, int, int] | None:
    """Shape, elements, and from the first element to behind the last; None for a bad shape."""
    if type(shape) is not tuple or type(stride) is not tuple or len(shape) != len(stride):
        return None
    elements = reach = 1
    for size, step in zip(shape, stride, strict=True):
        if type(size) is not int or type(step) is not int or size < 0 or step < 0:
            return None
        elements *= size
        reach += (size - 1) * step
        if size > MAX_ELEMENTS or step > MAX_ELEMENTS:
            return None
    if elements > MAX_ELEMENTS or len(shape) > MAX_DIMENSIONS:
        return None
    return shape, elements, reach


def _defect(file: str, name: str, tensor: Tensor) -> FormatError:
    """What is wrong with a tensor that could not be measured."""
    for what, value in (("shape", tensor.shape), ("stride", tensor.stride)):
        if type(value) is not tuple:
            return BadShape(file, f"its {what} is no tuple", tensor=name)
        if len(value) > MAX_DIMENSIONS:
            return TooManyDimensions(file, f"has {len(value):,} dimensions", tensor=name)
        for size in value:
            if type(size) is not int or not 0 <= size <= MAX_ELEMENTS:
                return BadShape(file, f"its {what} holds {_shown(size)}", tensor=name)
        if what == "shape":
            checked_elements(file, name, value)  # raises ShapeOverflow
    return BadShape(file, "has another number of strides than of sizes", tensor=name)


def _shown(value: object) -> str:
    return str(value)[:40] if type(value) in (int, float, str, bool) else "no whole number"


def list_tensors(file: str, named: Named, places: Places) -> Listing:
    """A row for each named tensor. Raises FormatError, named after the defect."""
    lister = _Lister(file, places)
    for name, tensor in zip(named.names, named.tensors, strict=True):
        lister.add(name, tensor)
    groups = [views for views in lister.users.values() if len(views) > 1]
    shared = _bounded([list(views) for views in groups])
    same = _bounded([names for views in groups for names in _same(views)])
    return Listing(lister.table, shared, same, lister.extents(), set(lister.users), lister.notes())


def _same(views: Mapping[str, _View]) -> list[list[str]]:
    names: dict[_View, list[str]] = {}
    for name, view in views.items():
        names.setdefault(view, []).append(name)
    return [group for group in names.values() if len(group) > 1]


def _bounded(groups: Sequence[list[str]]) -> list[list[str]]:
    kept, left = [], MAX_SHARED_NAMES
    for group in groups:
        if left <= 1:
            break
        kept.append(group[:left])
        left -= len(group)
    return kept


def unlisted(storages: Mapping[str, Storage], used: set[str]) -> tuple[int, int]:
    """How many storages, and bytes in them, belong to no listed tensor."""
    rest = [storage.bytes for key, storage in storages.items() if key not in used and storage.bytes]
    return len(rest), sum(rest)
