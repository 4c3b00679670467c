"""Whether two tensors of a checkpoint hold the same values: what decides if a pair gets tied."""

from __future__ import annotations

import os

from modelscope_cli.errors import MscopeError
from modelscope_cli.facts import ModelFacts, TensorFact, Unknown
from modelscope_cli.sources.base import OpenFile
from modelscope_cli.sources.local import LocalSource

_CHUNK = 1 << 22  # bytes of each tensor that are in memory at a time


def same_values(facts: ModelFacts, first: str, second: str) -> bool | Unknown:
    """Compare two tensors' bytes, which lie in files on this machine.

    transformers ties a pair only then, where the file has both. Tensors of different shapes are
    never equal; of different dtypes, packed or in a pickle: Unknown, as bytes do not tell.
    """
    found = [_only(facts, name) for name in (first, second)]
    one, other = found
    if isinstance(one, Unknown):
        return one
    if isinstance(other, Unknown):
        return other
    if one.shape != other.shape:
        return False
    if one.dtype != other.dtype:
        return Unknown(f"{first} is {one.dtype} and {second} {other.dtype}: bytes do not compare")
    try:
        return _equal(facts, one, other)
    except MscopeError as error:
        return Unknown(f"{first} and {second} cannot be compared: {error.message}")


def _only(facts: ModelFacts, name: str) -> TensorFact | Unknown:
    if isinstance(facts.tensors, Unknown):
        return facts.tensors
    rows = [row for row, each in enumerate(facts.tensors.names) if each == name]
    if len(rows) != 1:
        return Unknown(f"{len(rows)} tensors are called {name}")
    fact = facts.tensors[rows[0]]
    if fact.file is None or fact.offset is None or facts.ref.path is None:
        return Unknown(f"where the values of {name} lie is not known")
    return fact


def _equal(facts: ModelFacts, one: TensorFact, other: TensorFact) -> bool:
    path = facts.ref.path or "."
    source = LocalSource(path if os.path.isdir(path) else os.path.dirname(path), facts.ref)
    with source.open(one.file or "") as left, source.open(other.file or "") as right:
        return all(
            _chunk(left, one, start) == _chunk(right, other, start)
            for start in range(0, one.bytes, _CHUNK)
        )


def _chunk(file: OpenFile, fact: TensorFact, start: int) -> bytes:
    return file.read_at((fact.offset or 0) + start, min(_CHUNK, fact.bytes - start))
