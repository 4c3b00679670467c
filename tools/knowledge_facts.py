"""What loading and quantizing asks of a class beside its modules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from tools import knowledge_build as building
from tools.knowledge_parts import Parts

_NUMBER = re.compile(r"(?:(?<=\.)|^)\d+(?=\.|$)")


def facts(model: Any) -> dict[str, Any]:
    """What loading and quantizing asks of the class, parts left to their own records."""
    parts = Parts(model)
    at = {path: place for path, module in _models(model) if (place := parts.of(module))}
    outer = {path: place for path, place in at.items() if not _is_below(path, at)}
    linked = [(p, m) for p, m in _linked(model) if p not in outer and not _is_below(p, outer)]
    names = [name for name, _ in model.named_parameters()]
    whole = _gathered(model, linked, "_no_split_modules", outer)
    found = {
        "prefix": model.base_model_prefix or "",
        "last": template(names[-1]) if names else "",
        "output": _output(model),
        "ties": ties(model, linked),
        "keep": _gathered(model, linked, "_keep_in_fp32_modules", outer),
        "strict": _gathered(model, linked, "_keep_in_fp32_modules_strict", outer),
        "ignored": _gathered(model, linked, "_keys_to_ignore_on_load_unexpected", outer),
        "whole": _modules_of(model, whole, outer),
        "patched": _modules_of(model, _patched(), outer),
        "parts": _parts(model, outer),
        "subs": _subs(model, outer),
    }
    return {key: value for key, value in found.items() if value}


def _models(model: Any) -> Iterator[tuple[str, Any]]:
    from transformers import PreTrainedModel

    for path, module in model.named_modules():
        if isinstance(module, PreTrainedModel):
            yield path, module


def _linked(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The model and those within it that it knows of: its own children, and theirs."""
    from transformers import PreTrainedModel

    yield path, model
    for name, child in model.named_children():
        if isinstance(child, PreTrainedModel):
            yield from _linked(child, f"{path}.{name}" if path else name)


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


def _gathered(
    model: Any, linked: list[tuple[str, Any]], key: str, outer: Iterable[str]
) -> list[str]:
    """Attributes that `post_init` gathers from the models within; of parts none."""
    if not outer:
        return sorted(getattr(model, key, None) or ())
    found: set[str] = set()
    for path, module in linked:
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

    names: Iterable[str] = MODULES_TO_PATCH_FOR_QUANTIZATION
    return names


def _parts(model: Any, outer: dict[str, str]) -> list[list[Any]]:
    """Path of modules, path of the configuration, default model type, role, if it is linked."""
    linked = {path for path, _ in _linked(model)}
    rows = []
    for path, place in outer.items():
        role, _, at = place.partition(":")
        kind = model.get_submodule(path).config.model_type
        rows.append([path, at, kind, role, int(path in linked)])
    return rows


def _subs(model: Any, outer: dict[str, str]) -> list[list[str]]:
    """Models within it that have conversions of their own; a part by its path alone."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping as mapping

    rows = []
    for path, module in _models(model):
        names = type(module).__name__, module.config.model_type or ""
        if path in outer:
            rows.append([path, "", ""])
        elif path and not _is_below(path, outer) and any(map(mapping, names)):
            rows.append([path, *names])
    return rows


def ties(model: Any, linked: list[tuple[str, Any]]) -> list[list[str]]:
    """Target, source and the path in the configuration that must be true, "" for always."""
    pairs = _same_objects(model)
    paths = {id(config): path for path, config in building.config_paths(model.config).items()}
    for path, module in linked:
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
    """Folded: a number of the source that is not the target's stays a number.

    Where that leaves one template with several sources, names stay as they are.
    """
    folded: dict[tuple[str, str], dict[str, list[tuple[str, str, str]]]] = {}
    for target, source, when in pairs:
        sources = folded.setdefault((template(target), when), {})
        sources.setdefault(_folded_source(target, source), []).append((target, source, when))
    found: dict[tuple[str, str, str], None] = {}
    for (target, when), sources in folded.items():
        if len(sources) == 1:
            (source,) = sources
            found[target, source, when] = None
        else:
            found |= dict.fromkeys(each for alike in sources.values() for each in alike)
    return list(found)


def _folded_source(target: str, source: str) -> str:
    numbers = iter(_NUMBER.findall(target))

    def fold(match: re.Match[str]) -> str:
        return "*" if next(numbers, None) == match[0] else match[0]

    return _NUMBER.sub(fold, source)
