"""The vocabulary: what is known of a model, as plain immutable facts.

Named tuples, not dataclasses: making a frozen dataclass costs 0.45 ms at every start, a named
tuple 0.09 ms, and a listing of a small model has 25 ms in all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

Shape = tuple[int, ...]


class Unknown:
    """An answer that is not known, and why. Never stands for 0, nor for any value."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unknown) and other.reason == self.reason

    def __hash__(self) -> int:
        return hash(self.reason)

    def __repr__(self) -> str:
        return f"Unknown({self.reason!r})"


class TensorFact(NamedTuple):
    """One tensor as stored: a row of a `TensorTable`.

    `shape` is in torch order, rows first; `offset` is in bytes from the start of `file`;
    `file` is relative to the model. `elements` counts what the shape says, packed or not.
    """

    name: str
    dtype: str
    shape: Shape
    elements: int
    bytes: int
    file: str | None
    offset: int | None
    component: str | None


class TensorTable:
    """Many tensors as parallel columns; a row is made when it is asked for.

    A listing can hold 90,000 tensors: an object for each was measured at twice the time.
    Columns are only ever appended to by readers, before anyone looks.
    """

    __slots__ = ("bytes", "components", "dtypes", "elements", "files", "names", "offsets", "shapes")

    def __init__(self) -> None:
        self.names: list[str] = []
        self.dtypes: list[str] = []
        self.shapes: list[Shape] = []
        self.elements: list[int] = []
        self.bytes: list[int] = []
        self.files: list[str | None] = []
        self.offsets: list[int | None] = []
        self.components: list[str | None] = []

    def append(
        self,
        name: str,
        dtype: str,
        shape: Shape,
        elements: int,
        size: int,
        file: str | None,
        offset: int | None,
        component: str | None = None,
    ) -> None:
        """Add one row."""
        self.names.append(name)
        self.dtypes.append(dtype)
        self.shapes.append(shape)
        self.elements.append(elements)
        self.bytes.append(size)
        self.files.append(file)
        self.offsets.append(offset)
        self.components.append(component)

    def extend(self, other: TensorTable) -> None:
        """Add all rows of another table."""
        for column in self.__slots__:
            getattr(self, column).extend(getattr(other, column))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> TensorFact:
        return TensorFact(
            self.names[index],
            self.dtypes[index],
            self.shapes[index],
            self.elements[index],
            self.bytes[index],
            self.files[index],
            self.offsets[index],
            self.components[index],
        )

    def __iter__(self) -> Iterator[TensorFact]:
        return map(
            TensorFact._make,
            zip(
                self.names,
                self.dtypes,
                self.shapes,
                self.elements,
                self.bytes,
                self.files,
                self.offsets,
                self.components,
                strict=True,
            ),
        )

    def take(self, indices: Iterable[int]) -> TensorTable:
        """A new table of the rows named, in that order."""
        chosen = list(indices)
        table = TensorTable()
        for column in self.__slots__:
            values = getattr(self, column)
            setattr(table, column, [values[index] for index in chosen])
        return table


class Note(NamedTuple):
    """Something the user should know beside the answer; a warning survives `--quiet`."""

    text: str
    warning: bool = False


class FileFact(NamedTuple):
    """One weight file as its header tells it. `header_bytes` includes any length prefix."""

    path: str
    format: str  # safetensors | gguf | torch
    size: int
    header_bytes: int
    metadata: Mapping[str, Any] = MappingProxyType({})


class FileContents(NamedTuple):
    """What a format reader gives back for one file."""

    fact: FileFact
    tensors: TensorTable
    notes: tuple[Note, ...] = ()


class ModelRef(NamedTuple):
    """Which model a report is about: the `model` object of every JSON document.

    `kind` is directory, file, hub, cache or builtin; `revision` the resolved 40-hex commit.
    """

    target: str
    kind: str
    id: str | None = None
    revision: str | None = None
    format: str | None = None
    files: int | None = None
    path: str | None = None
    default: bool = False


class Component(NamedTuple):
    """One part of a pipeline (a diffusers component, a sentence-transformers module)."""

    name: str
    type: str | None = None
    config: Mapping[str, Any] | None = None


class Choice(NamedTuple):
    """One of several weight sets, each a whole model; `type` as its name says (`Q4_K_M`)."""

    file: str
    type: str | None
    bytes: int
    files: int = 1


class ModelFacts(NamedTuple):
    """Everything read about one model. `tensors` is Unknown where no weights are there.

    `values` are the bytes of small metadata tensors by component and name, `quantization` what
    the model's files declare of it; `alternatives` are weight sets that hold the same names,
    `choices` those of which none was read.
    """

    ref: ModelRef
    tensors: TensorTable | Unknown
    files: tuple[FileFact, ...] = ()
    config: Mapping[str, Any] | None = None
    config_file: str | None = None
    components: Sequence[Component] = ()
    notes: tuple[Note, ...] = ()
    values: Mapping[tuple[str | None, str], bytes] = MappingProxyType({})
    quantization: Mapping[str, Any] = MappingProxyType({})
    alternatives: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()
