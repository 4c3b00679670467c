"""What transformers itself does with names, to compare what was written of it with.

`python -m tools.knowledge_truth [TYPE ...]` compares every class and prints the differences.
"""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterator
from typing import Any

from modelscope_cli.dtypes import TORCH
from modelscope_cli.knowledge.modules import ClassModules, find
from tools import knowledge_build as building
from tools.knowledge_facts import template
from tools.knowledge_parts import Parts
from tools.knowledge_trees import BUILT_IN, Node, kind_of, read
from tools.knowledge_variants import Small


def small_model(model_type: str, name: str) -> Any:
    """A class with few layers, of each kind that it has by default."""
    model_class = building.class_of(name)

    def tree(config: Any) -> Node:
        model = building.build(model_class, config)
        return read(model, Parts(model).of)

    default = building.config_of(model_type, name)
    return building.build(model_class, Small(default, tree(copy.deepcopy(default)), tree).config)


def differences(model: Any, found: ClassModules) -> Iterator[str]:
    """What a built model has otherwise than the data says."""
    yield from _parameters(model, found)
    yield from _renames(model, found)
    yield from _ties(model, found)
    yield from _facts(model, found)


def _parameters(model: Any, found: ClassModules) -> Iterator[str]:
    kept_out = {name for name, _ in model.named_non_persistent_buffers()}
    for path, module in model.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        for name, value in (*module._parameters.items(), *module._buffers.items()):
            if value is None or prefix + name in kept_out:
                continue
            kind = kind_of(module) if name in module._parameters else "buffer"
            dtype = TORCH[str(value.dtype).removeprefix("torch.")].name
            expected = (kind, None if dtype == BUILT_IN else dtype)
            if found.parameter(prefix + name) != expected:
                yield f"{prefix}{name}: {found.parameter(prefix + name)}, not {expected}"
    names = [name for name, _ in model.named_parameters()]
    if sorted(names, key=found.position) != names:
        yield "the order of parameters"


def _renames(model: Any, found: ClassModules) -> Iterator[str]:
    renaming = Renaming(model)
    names = sorted(file_names(model))  # as they are loaded: some renames wait for a name
    found.look_at(names)
    for name in names:
        expected = renaming.of(name)
        got = found.rename(name)
        if (got.name, got.merged) != expected:
            yield f"rename {name}: {got}, not {expected}"


def file_names(model: Any) -> Iterator[str]:
    """Names of files that hold the model: as saved, as held, of the base model and of a head.

    One or two of each template: the first and the last.
    """
    from transformers.core_model_loading import revert_weight_conversion

    own = dict(model.state_dict())
    try:
        saved = list(revert_weight_conversion(model, own))
    except Exception:  # an operation that needs values, or another model
        saved = []
    prefix = model.base_model_prefix
    names = list(dict.fromkeys((*saved, *own)))
    chosen = {template(name): name for name in names} | {template(n): n for n in names[::-1]}
    for name in (*chosen.values(), *{template(name): name for name in names}.values()):
        yield name
        yield (
            name.removeprefix(f"{prefix}.") if name.startswith(f"{prefix}.") else f"{prefix}.{name}"
        )


class Renaming:
    """What transformers makes of the names of a file."""

    def __init__(self, model: Any) -> None:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming

        mapping = get_model_conversion_mapping(model)
        self.own = dict(model.state_dict())
        self.prefix = model.base_model_prefix
        self.renamings = [each for each in mapping if isinstance(each, WeightRenaming)]
        self.converters = [each for each in mapping if isinstance(each, WeightConverter)]

    def of(self, name: str) -> tuple[str, bool]:
        """The new name, and whether other tensors become the same one."""
        from transformers.core_model_loading import rename_source_key

        rules = self.renamings, self.converters
        new, pattern = rename_source_key(name, *rules, self.prefix, self.own)
        if new not in self.own and name in self.own:
            new, pattern = rename_source_key(name, [], [], self.prefix, self.own)
        used = [each for each in self.converters if pattern in each.source_patterns]
        operations = [type(each).__name__ for converter in used for each in converter.operations]
        return new, bool(re.search("Merge|Concatenate|Ernie", " ".join(operations)))


def _ties(model: Any, found: ClassModules) -> Iterator[str]:
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    expected = {pair for pair in model.all_tied_weights_keys.items() if set(pair) <= names}
    got = {
        (name, source)
        for tie in found.ties
        if tie.when and _value(model.config, tie.when)
        for name in names
        if (source := tie.source_of(name)) is not None
    }
    if got != expected:
        yield f"ties {sorted(got - expected)[:3]} too many, {sorted(expected - got)[:3]} missing"


def _value(config: Any, path: str) -> bool:
    for key in path.split("."):
        config = getattr(config, key, None)
    return bool(config)


def _facts(model: Any, found: ClassModules) -> Iterator[str]:
    pairs = (
        ("keep", found.keep_in_fp32, model._keep_in_fp32_modules),
        ("strict", found.keep_in_fp32_strict, model._keep_in_fp32_modules_strict),
        ("ignored", found.ignored_unexpected, model._keys_to_ignore_on_load_unexpected),
    )
    for what, got, expected in pairs:
        if set(got) != set(expected or ()):
            yield f"{what}: {got}, not {expected}"
    # A part may have modules that are not built here: of a head that is left out.
    built = {template(path): type(module).__name__ for path, module in model.named_modules()}
    whole = {path for path, name in built.items() if name in model._no_split_modules}
    if whole != set(found.no_split) & built.keys():
        yield f"no_split {sorted(set(found.no_split) ^ whole)[:4]}"


def main(types: list[str]) -> None:
    """Compare, and print."""
    classes = wrong = 0
    for model_type in types or building.model_types():
        for name in building.class_names(model_type):
            try:
                model = small_model(model_type, name)
            except Exception:
                continue
            classes += 1
            found = find(model_type, name, model.config.to_dict())
            try:
                lines = ["not known"] if found is None else list(differences(model, found))
            except Exception as error:
                lines = [f"{type(error).__name__}: {error}"]
            wrong += bool(lines)
            for line in lines[:4]:
                print(f"{model_type}/{name}: {line}"[:400], flush=True)
    print(f"{classes} classes, {wrong} with differences")


if __name__ == "__main__":
    main(sys.argv[1:])
