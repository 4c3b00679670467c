"""The lock file: TOML, models by target and files by path, so that git shows what changed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from modelscope_cli.errors import UsageError
from modelscope_cli.locking.facts import ALGORITHMS, KIND, Lock, LockedFile, LockedModel

NAME = "mscope.lock"
VERSION = 1
_MAX_BYTES = 256_000_000  # 1,000 models of 1,000 files
_HEAD = (
    "# Written by `mscope lock`: what was seen of each model. `mscope lock --check` compares.\n"
    f"version = {VERSION}\n"
)
_TEXTS = ("id", "revision", "format")
_NUMBERS = ("tensors", "parameters", "bytes")
_HEX = frozenset("0123456789abcdef")
_LENGTHS = {"sha256": 64, "git-sha1": 40, "header-sha256": 64}


def text(models: Iterable[LockedModel]) -> str:
    """The whole file. The same models give the same bytes, in whatever order they come."""
    ordered = sorted(models, key=lambda each: each.target)
    return "".join([_HEAD, *(line for model in ordered for line in _model(model))])


def _model(model: LockedModel) -> Iterator[str]:
    yield f"\n[[model]]\ntarget = {_string(model.target)}\n"
    for key in _TEXTS:
        if (value := getattr(model, key)) is not None:
            yield f"{key} = {_string(value)}\n"
    for key in _NUMBERS:
        if (number := getattr(model, key)) is not None:
            yield f"{key} = {number}\n"
    if not model.complete:
        yield "complete = false\n"
    # A line a file: a diff of the lock reads like one of the model.
    yield "files = [\n"
    for file in sorted(model.files):
        yield (
            f"  {{ path = {_string(file.path)}, size = {file.size},"
            f" {file.algorithm} = {_string(file.digest)} }},\n"
        )
    yield "]\n"


def _string(value: str) -> str:
    """A basic string of TOML: ASCII, whatever a file is called."""
    parts = []
    for character in value:
        code = ord(character)
        if character in '"\\':
            parts.append(f"\\{character}")
        elif " " <= character <= "~":
            parts.append(character)
        elif 0xD800 <= code <= 0xDFFF:
            raise UsageError(f"{value!r}: a name that is no text cannot be locked", "rename it")
        else:
            parts.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return f'"{"".join(parts)}"'


def read(path: str) -> Lock:
    """A lock file. Raises UsageError for one that is missing, or that we did not write."""
    try:
        with open(path, "rb") as stream:
            raw = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no lock", "mscope lock MODEL writes one") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > _MAX_BYTES:
        raise UsageError(f"{path}: larger than {_MAX_BYTES:,} bytes: not a lock")
    return Lock(path, _models(path, _parsed(path, raw)))


def _parsed(path: str, raw: bytes) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        hint = "after a merge: take one side, then `mscope lock` writes what is there now"
        raise UsageError(f"{path}: not valid TOML: {error}", hint) from error


def _models(path: str, document: Mapping[str, Any]) -> dict[str, LockedModel]:
    if (version := document.get("version")) != VERSION:
        raise UsageError(f"{path}: version is {version!r}, this mscope knows {VERSION}")
    _only(path, document, ("version", "model"))
    models: dict[str, LockedModel] = {}
    for each in _tables(path, document.get("model", [])):
        model = _read_model(path, each)
        if model.target in models:
            raise UsageError(f"{path}: {model.target} is locked twice")
        models[model.target] = model
    return models


def _read_model(path: str, table: Mapping[str, Any]) -> LockedModel:
    known = ("target", *_TEXTS, *_NUMBERS, "complete", "files")
    _only(path, table, known)
    _typed(path, table, {"target"}, str, required=True)
    _typed(path, table, _TEXTS, str)
    _typed(path, table, _NUMBERS, int)
    _typed(path, table, {"complete"}, bool)
    files = tuple(sorted(_read_file(path, each) for each in _tables(path, table.get("files", []))))
    return LockedModel(**{**table, "files": files})


def _read_file(path: str, table: Mapping[str, Any]) -> LockedFile:
    found = [name for name in ALGORITHMS if name in table]
    _only(path, table, ("path", "size", *found[:1]))
    _typed(path, table, {"path"}, str, required=True)
    _typed(path, table, {"size"}, int, required=True)
    digest = table[found[0]] if found else None
    if not isinstance(digest, str) or not _is_valid(found[0], digest):
        raise UsageError(f"{path}: {table['path']} has no hash that mscope knows")
    return LockedFile(table["path"], table["size"], found[0], digest)


def _is_valid(algorithm: str, digest: str) -> bool:
    if algorithm == KIND:
        return bool(digest)
    return len(digest) == _LENGTHS[algorithm] and _HEX.issuperset(digest)


def _tables(path: str, value: Any) -> list[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise UsageError(f"{path}: models and files are lists of tables")
    return value


def _only(path: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
    if unknown := sorted(set(table) - set(known)):
        raise UsageError(f"{path}: unknown key {unknown[0]!r}", "is it from a newer mscope?")


def _typed(
    path: str, table: Mapping[str, Any], keys: Iterable[str], kind: type, *, required: bool = False
) -> None:
    for key in keys:
        if (key in table or required) and type(table.get(key)) is not kind:
            raise UsageError(f"{path}: {key} is not {_KINDS[kind]}")


_KINDS = {str: "a text", int: "a whole number", bool: "true or false"}


def target(model: str, lock: str) -> str:
    """A model's name in a lock: a local one from the lock's folder, so that a checkout can move.

    What is no path on this disk keeps the name that was typed.
    """
    path = os.path.expanduser(model)
    if not os.path.lexists(path):
        return model
    folder = os.path.dirname(os.path.abspath(lock))
    try:
        found = os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
    except ValueError:  # another drive
        return model
    found = found.replace(os.sep, "/")
    return found if found.startswith(("../", "./")) or found in (".", "..") else f"./{found}"


def place(target: str, lock: str) -> str:
    """The other way: a locked model's name as it is opened from the current folder."""
    if not target.startswith(("./", "../")) and target not in (".", ".."):
        return target
    folder = os.path.dirname(lock)
    return os.path.normpath(os.path.join(folder, target)) if folder else target
