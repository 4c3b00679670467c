"""`*.index.json`: which shard holds which tensor, and whether the shards agree.

`{"metadata": {"total_size": bytes}, "weight_map": {tensor: file}}`, as transformers,
diffusers and accelerate write it beside safetensors and torch shards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

from modelscope_cli.errors import FormatError, MissingShard
from modelscope_cli.facts import Note, TensorTable
from modelscope_cli.formats.base import MAX_HEADER_BYTES, refuse_pointer
from modelscope_cli.sources.base import OpenFile

MAX_INDEX_BYTES = MAX_HEADER_BYTES  # DeepSeek-V3's index takes 9 MB


_LOOKED_AT = 64  # characters of what is no JSON


class IndexTooLarge(FormatError):
    """An index of more than 100,000,000 bytes."""


class IndexNotJson(FormatError):
    """The index is no JSON in UTF-8."""


class InvalidIndex(FormatError):
    """The index has no weight_map from tensor names to file names."""


class DuplicateIndexKey(FormatError):
    """A key is in the index twice."""


class IndexPathEscape(FormatError):
    """A shard's name is no plain path within the model."""


class TensorInTwoShards(FormatError):
    """Two shards hold a tensor of the same name."""


class TensorNotInShard(FormatError):
    """The index names a tensor that no shard holds."""


class TensorInOtherShard(FormatError):
    """A tensor is in another shard than the index says."""


class TensorNotInIndex(FormatError):
    """A shard holds a tensor that the index does not name."""


class ShardIndex(NamedTuple):
    """A parsed index. Names in `files` are distinct, sorted, relative to the index's folder."""

    path: str
    weight_map: Mapping[str, str]
    files: tuple[str, ...]
    total_size: Any  # as the file has it: real indexes hold ints, floats and nonsense


def parse(file: OpenFile) -> ShardIndex:
    """Read an index; every shard's name is safe to open. Raises FormatError by the defect."""
    text = _text(file)
    document = _document(file.path, text)
    weight_map = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise InvalidIndex(file.path, "there is no weight_map object with tensors in it")
    if set(map(type, weight_map.values())) != {str}:
        tensor = next(name for name, value in weight_map.items() if not isinstance(value, str))
        raise InvalidIndex(file.path, "its file in weight_map is no string", tensor=tensor)
    if not _each_key_once(document, text):
        _find_duplicate(file.path, text)
    files = tuple(sorted(set(weight_map.values())))
    for name in files:
        if not _is_plain(name):
            what = f"weight_map names {name!r}, which is not a plain path within the model"
            raise IndexPathEscape(file.path, what)
    metadata = document.get("metadata")
    total_size = metadata.get("total_size") if isinstance(metadata, dict) else None
    return ShardIndex(file.path, weight_map, files, total_size)


def check(index: ShardIndex, tables: Mapping[str, TensorTable]) -> tuple[Note, ...]:
    """Hold the index against all of its shards, read and keyed by their names in the index.

    Raises FormatError where names and shards differ; a wrong total_size is only a note.
    """
    if not _agree(index.weight_map, tables):
        _explain(index, tables)
    return _size_note(index, sum(sum(table.bytes) for table in tables.values()))


def _text(file: OpenFile) -> str:
    if file.size > MAX_INDEX_BYTES:
        what = f"the index has {file.size:,} bytes, the limit is {MAX_INDEX_BYTES:,}"
        raise IndexTooLarge(file.path, what)
    try:
        return file.read_at(0, file.size).decode()
    except UnicodeDecodeError as error:
        what = f"the index is not UTF-8: {error.reason}"
        raise IndexNotJson(file.path, what, offset=error.start) from None


def _document(path: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        refuse_pointer(path, text[:_LOOKED_AT].encode())
        offset = len(text[: error.pos].encode())
        what = f"the index is not JSON: {error.msg.removesuffix(' at')}"
        raise IndexNotJson(path, what, offset=offset) from None
    except ValueError:
        raise IndexNotJson(path, "the index holds a number of more than 4,300 digits") from None
    except RecursionError:
        raise IndexNotJson(path, "the index is nested too deep") from None


# Without escapes two quotes are one string: counting both shows at C speed that json.loads
# dropped no key. Only where that fails is the index parsed again to find out.


def _each_key_once(document: dict[str, Any], text: str) -> bool:
    rest = {key: value for key, value in document.items() if key != "weight_map"}
    strings = 1 + 2 * len(document["weight_map"]) + sum(1 for _ in _strings(rest))
    return "\\" not in text and text.count('"') == 2 * strings


def _strings(value: Any) -> Iterator[str]:
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            pending += [*value, *value.values()]
        elif isinstance(value, list):
            pending += value


def _find_duplicate(path: str, text: str) -> None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in pairs:
            if key in seen:
                raise DuplicateIndexKey(path, f"the key {key!r} is in the index twice")
            seen[key] = value
        return seen

    json.loads(text, object_pairs_hook=once)


def _is_plain(name: str) -> bool:
    """Whether a name stays within the model on every system, Windows included."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    if "\\" in name or "\0" in name or re.match(r"[A-Za-z]:", name):
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def _agree(weight_map: Mapping[str, str], tables: Mapping[str, TensorTable]) -> bool:
    for file, table in tables.items():
        if list(map(weight_map.get, table.names)) != [file] * len(table):
            return False
        if len(set(table.names)) != len(table):
            return False
    return sum(map(len, tables.values())) == len(weight_map)


def _explain(index: ShardIndex, tables: Mapping[str, TensorTable]) -> NoReturn:
    """Raise the first difference between index and shards."""
    path, weight_map = index.path, index.weight_map
    if missing := [file for file in index.files if file not in tables]:
        what = f"{len(missing):,} of {len(index.files):,} shards are not there, first {missing[0]}"
        raise MissingShard(path, what)
    found = held_once(path, tables)
    if nowhere := [name for name in weight_map if name not in found]:
        what = (
            f"is in no shard, the index says {weight_map[nowhere[0]]} "
            f"(so for {len(nowhere):,} of {len(weight_map):,} tensors)"
        )
        raise TensorNotInShard(path, what, tensor=nowhere[0])
    if elsewhere := [name for name, file in weight_map.items() if found[name] != file]:
        what = (
            f"is in {found[elsewhere[0]]}, the index says {weight_map[elsewhere[0]]} "
            f"(so for {len(elsewhere):,} of {len(weight_map):,} tensors)"
        )
        raise TensorInOtherShard(path, what, tensor=elsewhere[0])
    unnamed = [name for name in found if name not in weight_map]
    what = (
        f"is in {found[unnamed[0]]}, the index does not name it "
        f"(so for {len(unnamed):,} of {len(found):,} tensors)"
    )
    raise TensorNotInIndex(path, what, tensor=unnamed[0])


def held_once(path: str, tables: Mapping[str, TensorTable]) -> dict[str, str]:
    """The shard of every tensor, by name; `path` is named in errors. Raises TensorInTwoShards."""
    found: dict[str, str] = {}
    for file, table in tables.items():
        for name in table.names:
            if name in found:
                what = f"is in two shards, or in one twice: {found[name]} and {file}"
                raise TensorInTwoShards(path, what, tensor=name)
            found[name] = file
    return found


def _size_note(index: ShardIndex, total_bytes: int) -> tuple[Note, ...]:
    claimed = index.total_size
    if claimed is None or claimed == total_bytes:
        return ()
    is_size = isinstance(claimed, int | float) and abs(claimed) < 2**63
    shown = f"{claimed:,}" if is_size else "no number of bytes"
    text = f"{index.path}: total_size is {shown}, the tensors take {total_bytes:,} bytes"
    return (Note(text),)
