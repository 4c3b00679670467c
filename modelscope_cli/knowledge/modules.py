"""What a transformers class is made of, and what its loading and quantizing asks of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from modelscope_cli.knowledge.lines import look_up
from modelscope_cli.knowledge.renames import (
    LONGEST_NAME,
    Renamed,
    Renamer,
    SubModel,
    rules_for,
)
from modelscope_cli.knowledge.trees import Parameter, Tree

__all__ = ["ClassModules", "Parameter", "Renamed", "Tie", "find", "is_known_type"]

_TABLE = "classes"
_DEEPEST = 8  # models within models; the deepest that exists is 4


class Tie(NamedTuple):
    """A parameter that is the same as another.

    Templates of names, `*` for a number: the third number of the source is the third of the
    target, unless it is written out. `when` is the path in the configuration that must be true,
    "" for always.
    """

    target: str
    source: str
    when: str

    def source_of(self, name: str) -> str | None:
        """The full name of what `name` is tied to; None where it is not tied by this."""
        parts, wanted = name.split("."), self.target.split(".")
        if len(parts) != len(wanted) or any(
            part != want and not (want == "*" and part.isdecimal())
            for part, want in zip(parts, wanted, strict=True)
        ):
            return None
        numbers = iter([part for part in parts if part.isdecimal()])
        filled = []
        for part in self.source.split("."):
            number = next(numbers, part) if part == "*" or part.isdecimal() else part
            filled.append(number if part == "*" else part)
        source = ".".join(filled)
        return None if source == name else source


class ClassModules:
    """One class of one model type.

    `output_embedding` is the module of `get_output_embeddings()`, `last` the template of the
    last of `named_parameters()` with the default configuration and nothing tied.
    """

    def __init__(
        self, name: str, model_type: str, record: Mapping[str, Any], parts: Mapping[str, _Part]
    ) -> None:
        self.name = name
        self.model_type = model_type
        self.base_prefix: str = record.get("prefix", "")
        self.last: str = record.get("last", "")
        self.output_embedding: str | None = record.get("output")
        self._record = record
        self._parts = parts
        self._tree = Tree(record.get("tree", {}), self._open)

    def parameter(self, name: str) -> Parameter | None:
        """The parameter or persistent buffer of that full name; None where it has none."""
        return None if len(name) > LONGEST_NAME else self._tree.parameter(name)

    def rename(self, file_name: str) -> Renamed:
        """Where a tensor of that name in a file goes."""
        return self._renamer.rename(file_name)

    def look_at(self, names: Iterable[str]) -> None:
        """Tell which names a file has, before `rename`: a few renames only concern old files."""
        self._renamer.look_at(names)

    def order(self) -> Sequence[str]:
        """Templates of all parameters and buffers, as `named_parameters` orders them."""
        return list(self._tree.templates())

    def position(self, name: str) -> tuple[int, ...]:
        """A key that sorts full names as `named_parameters` does."""
        return () if len(name) > LONGEST_NAME else self._tree.position(name)

    @cached_property
    def ties(self) -> tuple[Tie, ...]:
        """What is tied, within the parts too."""
        own = [Tie(*each) for each in self._record.get("ties", ())]
        for path, part in self._linked_parts():
            own += [
                Tie(
                    _join(path, tie.target),
                    _join(path, tie.source),
                    tie.when and f"{self._parts[path].config}.{tie.when}",
                )
                for tie in part.ties
            ]
        return tuple(own)

    @cached_property
    def keep_in_fp32(self) -> tuple[str, ...]:
        """Patterns of modules kept in float32 under float16, and left out by bitsandbytes."""
        return self._gathered("keep", lambda part: part.keep_in_fp32)

    @cached_property
    def keep_in_fp32_strict(self) -> tuple[str, ...]:
        """Patterns of what is float32 under bfloat16 too."""
        return self._gathered("strict", lambda part: part.keep_in_fp32_strict)

    @cached_property
    def ignored_unexpected(self) -> tuple[str, ...]:
        """Regular expressions of names that a file may have in vain."""
        return self._gathered("ignored", lambda part: part.ignored_unexpected)

    @cached_property
    def no_split(self) -> tuple[str, ...]:
        """Templates of modules that `device_map` keeps on one device."""
        return self._gathered("whole", lambda part: part.no_split, below=True)

    @cached_property
    def patched(self) -> tuple[str, ...]:
        """Templates of modules that bitsandbytes finds replaced.

        Llama 4's fused experts become a list of modules of three linear layers each.
        """
        return self._gathered("patched", lambda part: part.patched, below=True)

    @property
    def unknown_parts(self) -> tuple[str, ...]:
        """Paths of modules that are models of a type nothing is known of."""
        return tuple(path for path, part in self._parts.items() if part.found is None)

    def sub_models(self) -> Iterator[SubModel]:
        """The models within it that have renames of their own, as `named_modules` orders them."""
        for path, name, kind in self._record.get("subs", ()):
            if name:
                yield path, name, kind
                continue
            part = self._parts[path].found
            if part is not None:
                yield path, part.name, part.model_type
                yield from ((_join(path, p), name, kind) for p, name, kind in part.sub_models())

    @cached_property
    def _renamer(self) -> Renamer:
        rules = rules_for(self.name, self.model_type, self.base_prefix, self.sub_models())
        return Renamer(rules, self.base_prefix, lambda name: self.parameter(name) is not None)

    def _linked_parts(self) -> Iterator[tuple[str, ClassModules]]:
        for path, part in self._parts.items():
            if part.linked and part.found is not None:
                yield path, part.found

    def _gathered(
        self, key: str, of: Callable[[ClassModules], tuple[str, ...]], *, below: bool = False
    ) -> tuple[str, ...]:
        own = dict.fromkeys(self._record.get(key, ()))
        for path, part in self._linked_parts():
            found = (_join(path, each) if below else each for each in of(part))
            own.update(dict.fromkeys(found))
        return tuple(own)

    def _open(self, reference: str) -> Any:
        """The tree that `@Class` (of the same type) or `@=place` (a part) stands for."""
        if reference.startswith("@="):
            place = reference[2:]
            part = next((each.found for each in self._parts.values() if each.place == place), None)
            return None if part is None else part._tree
        return (look_up(_TABLE, f"{self.model_type}/{reference[1:]}") or {}).get("tree")


def _join(path: str, name: str) -> str:
    """A name within a module; the module's own for ""."""
    return f"{path}.{name}" if name else path


class _Part:
    """A model within a model whose type the configuration tells, at `config` of it.

    `place` is what trees call it: its role, and where its configuration is. One that is not
    `linked` keeps its ties and skip lists to itself: it is no child of a model.
    """

    __slots__ = ("config", "found", "linked", "place")

    def __init__(self, role: str, config: str, found: ClassModules | None, *, linked: bool) -> None:
        self.linked = linked
        self.place = f"{role}:{config}"
        self.config = config
        self.found = found


def differs_by(model_type: str) -> int:
    """Bytes by which memory told from headers was off for a type's default model; 0: none."""
    found = look_up("differs", model_type)
    return found if isinstance(found, int) else 0


def is_known_type(model_type: str | None) -> bool:
    """Whether there is anything about this model type."""
    return _type(model_type) is not None


def find(
    model_type: str | None,
    architecture: str | None,
    config: Mapping[str, Any] | None = None,
) -> ClassModules | None:
    """The class of that name, the type's primary one for None; None where it is not known.

    `config` (as in config.json) tells which models are within it: without it those of the
    default configuration.
    """
    return _find(model_type, architecture, config or {}, _DEEPEST)


def _find(
    model_type: Any, architecture: str | None, config: Mapping[str, Any], depth: int
) -> ClassModules | None:
    kind = _type(model_type)
    if kind is None or not depth:
        return None
    name = architecture or kind["classes"][0]
    record = look_up(_TABLE, f"{model_type}/{name}") if name in kind["classes"] else None
    if record is None:
        return None
    parts = {
        path: _Part(role, at, _part(at, default, role, config, depth - 1), linked=bool(linked))
        for path, at, default, role, linked in record.get("parts", ())
    }
    return ClassModules(name, model_type, record, parts)


def _type(model_type: Any) -> dict[str, Any] | None:
    """The classes of a model type; "/" stands between a type and a class in the table."""
    if not isinstance(model_type, str) or "/" in model_type:
        return None
    found: dict[str, Any] | None = look_up(_TABLE, model_type)
    return found


def _part(
    at: str, default: str, role: str, config: Mapping[str, Any], depth: int
) -> ClassModules | None:
    """The model that the configuration at `at` is of; `role` is what its auto class builds."""
    inner: Any = config
    for key in at.split("."):
        inner = inner.get(key) if isinstance(inner, Mapping) else None
    inner = inner if isinstance(inner, Mapping) else {}
    said = inner.get("model_type", default)
    name = (_type(said) or {}).get("auto", {}).get(role)
    return _find(said, name, inner, depth) if name else None
