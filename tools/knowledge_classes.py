"""What each class is made of: `classes.jsonl`, read by `modelscope_cli.knowledge.modules`."""

from __future__ import annotations

import inspect
import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from tools import knowledge_build as building
from tools.knowledge_trees import ConflictError, Node, encode, merge, read
from tools.knowledge_variants import Change, Small, changes

_NUMBER = re.compile(r"(?:(?<=\.)|^)\d+(?=\.|$)")
_MOST_PAIRS = 60  # configurations with two changes, for one class


def records(model_type: str) -> dict[str, Any]:
    """The lines of one model type: its own, and one a class."""
    names = building.class_names(model_type)
    seen: dict[str, Seen] = {}
    telling: list[Change] | None = None
    # The base model first: what changes it are the changes that the others are built with.
    base = building.auto_mappings()["BASE"].get(model_type, ())
    for name in sorted(names, key=lambda name: name not in base):
        found = see(model_type, name, telling)
        if found is not None:
            seen[name] = found
            if name in base:
                telling = [*(telling or ()), *found.telling]
    if not seen:
        return {}
    known = {name: found.tree for name, found in seen.items()}
    lines = {f"{model_type}/{name}": _record(found, known) for name, found in seen.items()}
    kinds = {"classes": [name for name in names if name in seen], "auto": _roles(model_type, seen)}
    return {model_type: kinds, **lines}


def _roles(model_type: str, seen: Iterable[str]) -> dict[str, str]:
    """What each auto class makes of the type."""
    found = {}
    for role, tag in building.ROLES.items():
        names = building.auto_mappings()[tag].get(model_type, ())
        name = next((name for name in names if name in seen), None)
        if name is not None:
            found[role] = name
    return found


class Seen(NamedTuple):
    """A class built, by default and otherwise; `telling` changes gave it other modules."""

    tree: Node
    facts: dict[str, Any]
    telling: list[Change]


def see(model_type: str, name: str, telling: Sequence[Change] | None) -> Seen | None:
    """A class in all its variants; None where not even the default is built.

    `telling` are changes that matter to the base model, None where it is not known yet: others
    are only tried where the source of the class has the key.
    """
    try:
        model_class = building.class_of(name)
        model = building.build(model_class, building.default_config(model_type))
    except Exception as error:
        _say(f"{model_type}/{name}: {type(error).__name__}: {_first_line(error)}")
        return None
    tree = read(model, Parts(model).of)
    small = Small(model_type, tree, lambda config: _tree(model_class, config))
    tries = _Tries(model_class, small, tree)
    worth = list(_worth_trying(model, small.config, telling))
    for change in worth:
        tries.attempt(change)
    # A kind of layer that the default has none of has switches of its own.
    kinds = [change for change in tries.telling if not isinstance(change.value, bool)]
    switches = [change for change in worth if isinstance(change.value, bool)]
    for kind, switch in itertools.islice(itertools.product(kinds, switches), _MOST_PAIRS):
        tries.attempt(kind, switch)
    return Seen(tries.tree, facts(model), tries.telling)


class _Tries:
    """Adds to the tree of a class what other configurations give it."""

    def __init__(self, model_class: Any, small: Small, tree: Node) -> None:
        self._class = model_class
        self._small = small
        self._names = set(tree.names())
        self.tree = tree
        self.telling: list[Change] = []

    def attempt(self, *changes: Change) -> None:
        """One more configuration: what does not build is nobody's checkpoint."""
        config = self._small.changed(*changes)
        other = None if config is None else _tree_if_built(self._class, config)
        if other is None or set(other.names()) <= self._names:
            return
        try:
            self.tree = merge(self.tree, other)
        except ConflictError as error:
            _say(f"{self._class.__name__} with {', '.join(map(str, changes))}: {error}")
            return
        self._names |= set(other.names())
        self.telling += [change for change in changes if change not in self.telling]


def _worth_trying(model: Any, config: Any, telling: Sequence[Change] | None) -> Iterator[Change]:
    source = inspect.getsource(type(model))
    for change in changes(model, config):
        if telling is None or change in telling or change.key in source:
            yield change


def _tree(model_class: Any, config: Any) -> Node:
    model = building.build(model_class, config)
    return read(model, Parts(model).of)


def _tree_if_built(model_class: Any, config: Any) -> Node | None:
    try:
        with building.time_limit():
            return _tree(model_class, config)
    except Exception:
        return None


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:150]


class Parts:
    """The models within a model whose class follows from a configuration within its own."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.package = type(model).__module__.rpartition(".")[0]
        self.paths = {
            id(config): path for path, config in building.config_paths(model.config).items()
        }

    def of(self, module: Any) -> str | None:
        """`role:path of its configuration`; None for what the class always has."""
        if module is self.model or type(module).__module__.startswith(self.package + "."):
            return None
        path = self.paths.get(id(module.config)) or self._path_of_type(module.config)
        role = _role(module)
        return f"{role}:{path}" if path and role else None

    def _path_of_type(self, config: Any) -> str | None:
        """Where the configuration was copied: the only one of its type."""
        levels = building.config_paths(self.model.config)
        alike = [path for path, level in levels.items() if type(level) is type(config)]
        return alike[0] if len(alike) == 1 else None


def _role(module: Any) -> str | None:
    name, kind = type(module).__name__, module.config.model_type
    mappings = building.auto_mappings()
    return next(
        (role for role, tag in building.ROLES.items() if name in mappings[tag].get(kind, ())), None
    )


def facts(model: Any) -> dict[str, Any]:
    """What loading and quantizing asks of the class, parts left to their own records."""
    parts = Parts(model)
    at = {path: parts.of(module) for path, module in _models(model) if parts.of(module) is not None}
    outer = {path: place for path, place in at.items() if not _is_below(path, at)}
    own = [(p, m) for p, m in _models(model) if p not in outer and not _is_below(p, outer)]
    names = [name for name, _ in model.named_parameters()]
    whole = _gathered(own, "_no_split_modules", outer)
    found = {
        "prefix": model.base_model_prefix or "",
        "last": template(names[-1]) if names else "",
        "output": _output(model),
        "ties": ties(model, own),
        "keep": _gathered(own, "_keep_in_fp32_modules", outer),
        "strict": _gathered(own, "_keep_in_fp32_modules_strict", outer),
        "ignored": _gathered(own, "_keys_to_ignore_on_load_unexpected", outer),
        "whole": _modules_of(model, whole, outer),
        "patched": _modules_of(model, _patched(), outer),
        "parts": _parts(model, outer),
        "subs": _subs(own, outer),
    }
    return {key: value for key, value in found.items() if value}


def _models(model: Any) -> Iterator[tuple[str, Any]]:
    from transformers import PreTrainedModel

    for path, module in model.named_modules():
        if isinstance(module, PreTrainedModel):
            yield path, module


def _is_below(path: str, owners: Iterable[str]) -> bool:
    return any(path.startswith(f"{owner}.") for owner in owners)


def template(name: str) -> str:
    """A name with `*` for its numbers."""
    return _NUMBER.sub("*", name)


def _output(model: Any) -> str | None:
    try:
        head = model.get_output_embeddings()
    except Exception:
        return None
    return next((path for path, module in model.named_modules() if module is head), None)


def _gathered(own: list[tuple[str, Any]], key: str, outer: Iterable[str]) -> list[str]:
    """Class attributes that a model gathers from the models within it."""
    found: set[str] = set()
    for path, module in own:
        # `post_init` has put into the attribute what the parts have: the class has its own.
        holds_part = any(not path or part.startswith(f"{path}.") for part in outer)
        found.update(getattr(type(module) if holds_part else module, key, None) or ())
    return sorted(found)


def _modules_of(model: Any, classes: Iterable[str], outer: Iterable[str]) -> list[str]:
    chosen = set(classes)
    found = {
        template(path): None
        for path, module in model.named_modules()
        if type(module).__name__ in chosen and path not in outer and not _is_below(path, outer)
    }
    return list(found)


def _patched() -> Iterable[str]:
    from transformers.quantizers.base import MODULES_TO_PATCH_FOR_QUANTIZATION

    return MODULES_TO_PATCH_FOR_QUANTIZATION


def _parts(model: Any, outer: dict[str, str]) -> list[list[str]]:
    """Path of modules, path of the configuration, default model type, role."""
    rows = []
    for path, place in outer.items():
        role, _, at = place.partition(":")
        rows.append([path, at, model.get_submodule(path).config.model_type, role])
    return rows


def _subs(own: list[tuple[str, Any]], outer: dict[str, str]) -> list[list[str]]:
    """Models within it that have conversions of their own; a part by its path alone."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    rows = [[path, "", ""] for path in outer]
    for path, module in own:
        names = type(module).__name__, module.config.model_type or ""
        if path and any(get_checkpoint_conversion_mapping(name) for name in names):
            rows.append([path, *names])
    return rows


def ties(model: Any, own: list[tuple[str, Any]]) -> list[list[str]]:
    """Target, source and the path in the configuration that must be true, "" for always."""
    pairs = _same_objects(model)
    paths = {id(config): path for path, config in building.config_paths(model.config).items()}
    for path, module in own:
        at = paths.get(id(module.config))
        when = "tie_word_embeddings" if not at else f"{at}.tie_word_embeddings"
        before = getattr(module.config, "tie_word_embeddings", False)
        module.config.tie_word_embeddings = True
        try:
            found = module.get_expanded_tied_weights_keys(all_submodels=False)
        finally:
            module.config.tie_word_embeddings = before
        prefix = f"{path}." if path else ""
        pairs += [(prefix + target, prefix + source, when) for target, source in found.items()]
    return [list(each) for each in _templates(pairs)]


def _same_objects(model: Any) -> list[tuple[str, str, str]]:
    """Parameters that the class itself puts in two places."""
    firsts: dict[int, str] = {}
    pairs = []
    for name, value in model.named_parameters(remove_duplicate=False):
        first = firsts.setdefault(id(value), name)
        if first != name:
            pairs.append((name, first, ""))
    return pairs


def _templates(pairs: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Folded: a number of the source that is not the target's stays a number."""
    found: dict[tuple[str, str, str], None] = {}
    for target, source, when in pairs:
        numbers = _NUMBER.findall(target)
        places = iter(range(len(_NUMBER.findall(source))))

        def folded(match: re.Match[str], numbers: list[str] = numbers, places: Any = places) -> str:
            place = next(places)
            return "*" if place < len(numbers) and numbers[place] == match[0] else match[0]

        found[template(target), _NUMBER.sub(folded, source), when] = None
    return list(found)


def _record(seen: Seen, known: dict[str, Node]) -> dict[str, Any]:
    others = {name: node for name, node in known.items() if node is not seen.tree}
    return {**seen.facts, "tree": encode(seen.tree, others)}
