"""Buffers that a class makes for itself, not in any file, and how many layers it builds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from modelscope_cli.facts import Unknown
from modelscope_cli.knowledge.expressions import value
from modelscope_cli.knowledge.lines import look_up

_TABLE = "buffers"
_CLASSES = "classes"
_DEEPEST = 8  # models within models
_MOST = 100_000  # layers, or tensors under one template
_LARGEST = 2**40  # elements along one dimension


class BufferFact(NamedTuple):
    """Non-persistent buffers of one template (`*` for a number) that are alike.

    `dtype` is in safetensors' spelling, None where it is the one the model is loaded in;
    `times` says how many there are, `count_path` the module list that has one in each entry
    ("" where there is none).
    """

    name: str
    dtype: str | None
    shape: tuple[int, ...] | Unknown
    count_path: str
    times: int | Unknown


def non_persistent(
    model_type: str | None, architecture: str | None, config: Mapping[str, Any]
) -> list[BufferFact] | None:
    """The buffers that the class registers and no file has; None where the class is not known.

    `config` is the effective configuration. Models within the model count too, by their types.
    """
    found: list[BufferFact] = []
    for part in _parts(model_type, architecture, config):
        if part.record is None:
            return None
        lists = _lists(part)
        for name, dtype, shape, count in part.buffers():
            times = _count(count, part.config)
            path = name.rpartition(".*")[0]
            alike = "*" in name and times == lists.get(path)
            found.append(
                BufferFact(
                    part.path + name,
                    dtype,
                    _shape(part.path + name, shape, part.config),
                    part.path + path if alike else "",
                    times,
                )
            )
    return found


def index_counts(
    model_type: str | None,
    architecture: str | None,
    config: Mapping[str, Any],
    *,
    constants: bool = True,
) -> Mapping[str, int]:
    """How many entries the class builds under a module: `{"model.layers": 61}`.

    A list within a list has `*` in its name and the most entries it has anywhere. What is not
    known is left out; without `constants` also what no configuration was seen to change: another
    one may.
    """
    return {
        part.path + name: count
        for part in _parts(model_type, architecture, config)
        for name, count in _lists(part, constants=constants).items()
    }


def scopes(
    model_type: str | None, architecture: str | None, config: Mapping[str, Any]
) -> Mapping[str, Mapping[str, Any]]:
    """The models within one and itself: where each is (with its dot), and its configuration."""
    return {part.path: part.config for part in _parts(model_type, architecture, config)}


class _Part:
    """A class of the table at `path` of the model (with its dot), and its configuration."""

    def __init__(self, record: Mapping[str, Any] | None, of: Mapping[str, Any], path: str) -> None:
        self.record = record
        self.config = of
        self.path = path
        self.own: Mapping[str, Any] = {}
        self.prefix = ""

    def buffers(self) -> Iterator[tuple[str, str | None, list[Any], Any]]:
        for name, dtype, shape, count in self._chosen("buffers"):
            yield self._named(name), dtype, shape, count

    def lists(self) -> Iterator[tuple[str, Any]]:
        for name, count in self._chosen("lists"):
            yield self._named(name), count

    def _chosen(self, key: str) -> Iterator[Any]:
        rows = (self.record or {}).get(key, ())
        picked = self.own.get(key)
        return iter(rows) if picked is None else (rows[index] for index in picked)

    def _named(self, name: str) -> str:
        """A name of the table: below the base model, or (`/`) beside it."""
        if name.startswith("/"):
            return name[1:]
        return f"{self.prefix}.{name}" if self.prefix else name


def _parts(
    model_type: Any,
    architecture: str | None,
    config: Mapping[str, Any],
    path: str = "",
    depth: int = 0,
) -> Iterator[_Part]:
    """The class, and the models within it that are told by their own configurations."""
    model_type, config = _own(model_type, architecture, config)
    record = look_up(_TABLE, model_type) if isinstance(model_type, str) else None
    classes = (record or {}).get("classes", {})
    name = next(iter(classes), None) if architecture is None else architecture
    part = _Part(record if name in classes else None, config, path)
    if part.record is not None:
        part.own = classes[name]
        part.prefix = part.own.get("prefix", "")
    yield part
    known = look_up(_CLASSES, f"{model_type}/{name}") if part.record is not None else None
    parts = (known or {}).get("parts", ()) if depth < _DEEPEST else ()
    for place, at, default, role, *_ in parts:
        inner = value(at, config)
        inner = inner if isinstance(inner, Mapping) else {}
        kind = inner.get("model_type", default)
        kind = kind if isinstance(kind, str) else default
        roles = (look_up(_CLASSES, kind) or {}).get("auto", {})
        yield from _parts(kind, roles.get(role, "?"), inner, f"{path}{place}.", depth + 1)


def _own(
    model_type: Any, architecture: str | None, config: Mapping[str, Any]
) -> tuple[Any, Mapping[str, Any]]:
    """The type and configuration that a class takes: a nested one for `Llama4ForCausalLM`."""
    record = look_up(_TABLE, model_type) if isinstance(model_type, str) else None
    if record is None or architecture is None or architecture in record["classes"]:
        return model_type, config
    for inner in config.values():
        kind = inner.get("model_type") if isinstance(inner, Mapping) else None
        known = look_up(_TABLE, kind) if isinstance(kind, str) else None
        if known is not None and architecture in known["classes"]:
            return kind, inner
    return model_type, config


def _lists(part: _Part, *, constants: bool = True) -> dict[str, int]:
    counts = (
        (name, _count(count, part.config))
        for name, count in part.lists()
        if constants or not isinstance(count, int)
    )
    return {name: count for name, count in counts if isinstance(count, int)}


def _count(expression: Any, config: Mapping[str, Any]) -> int | Unknown:
    found = value(expression, config)
    if isinstance(found, int) and 0 <= found <= _MOST:
        return int(found)
    return Unknown("its number does not follow from the configuration")


def _shape(
    name: str, expressions: list[Any], config: Mapping[str, Any]
) -> tuple[int, ...] | Unknown:
    sizes = [value(each, config) for each in expressions]
    if all(isinstance(size, (int, float)) and 0 <= size <= _LARGEST for size in sizes):
        return tuple(map(int, sizes))
    return Unknown(f"the shape of {name} does not follow from the configuration")
