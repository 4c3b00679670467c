"""Compare header-only memory with transformers' own classes: `python -m tools.check_memory`.

For every model type that transformers builds from its default configuration: the names, shapes
and dtypes that `save_pretrained` would write, and the configuration it would, go through the
same analysis as a checkpoint on disk; the meta model tells what loading really leaves. Writes
docs/memory.md with a row for each type, and differs.jsonl: the types whose figures are then told
as estimates. `--only TYPE…` prints instead; `--part 1/2` takes every
second type and writes lines that `--join FILE…` puts together.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from modelscope_cli import footprint
from modelscope_cli.analysis.memory import weighing
from modelscope_cli.analysis.memory.modes import Mode
from modelscope_cli.dtypes import TORCH
from modelscope_cli.facts import ModelFacts, ModelRef, TensorTable, Unknown
from modelscope_cli.live.exact_weights import ExactParts, exact_weights
from tools import knowledge_build, knowledge_tables

TABLE = Path(__file__).parent.parent / "docs" / "memory.md"
MODES = (Mode("16", dtype="BF16"), Mode("4", "nf4", dtype="BF16"))
_SECONDS = 60


class Checked(NamedTuple):
    """One type: its class, and for each mode our bytes, transformers' bytes, and our basis."""

    model_type: str
    class_name: str
    ours: tuple[int, ...]
    theirs: tuple[int, ...]
    basis: str
    note: str = ""

    @property
    def agrees(self) -> bool:
        """Whether every mode is equal to the byte."""
        return bool(self.theirs) and self.ours == self.theirs


def facts_of(model: Any, config: Any, name: str) -> ModelFacts:
    """What a saved checkpoint of a meta model would tell, without writing it."""
    from transformers.core_model_loading import revert_weight_conversion

    saved = json.loads(json.dumps(config.to_diff_dict(), default=_plain))
    saved |= {"architectures": [name], "model_type": config.model_type, "dtype": "bfloat16"}
    table = TensorTable()
    state = _saved_once(model)
    for tensor_name, tensor in revert_weight_conversion(model, state).items():
        dtype = TORCH[str(tensor.dtype).removeprefix("torch.")].name
        size = tensor.numel() * tensor.element_size()
        shape = tuple(tensor.shape)
        table.append(tensor_name, dtype, shape, tensor.numel(), size, "model.safetensors", 0)
    ref = ModelRef(name, "directory", format="safetensors", files=1)
    return ModelFacts(ref, table, config=saved, config_file="config.json")


def _plain(value: object) -> object:
    return list(value) if isinstance(value, set | tuple) else str(value).removeprefix("torch.")


def _saved_once(model: Any) -> dict[str, Any]:
    """The state that `save_pretrained` writes: nothing tied twice, nothing it is told to leave."""
    import re

    state = dict(model.state_dict())
    for target in getattr(model, "all_tied_weights_keys", {}):
        state.pop(target, None)
    ignored = [re.compile(key) for key in model._keys_to_ignore_on_save or ()]
    return {n: t for n, t in state.items() if not any(key.search(n) for key in ignored)}


def check(model_type: str) -> Checked:
    """One type, with its natural class and default configuration."""
    names = knowledge_build.class_names(model_type)
    name = names[0] if names else ""
    try:
        with knowledge_build.time_limit(_SECONDS):
            config = knowledge_build.default_config(model_type)
            model = knowledge_build.build(knowledge_build.class_of(name), config)
            facts = facts_of(model, config, name)
            theirs = tuple(_truth(facts, name, mode) for mode in MODES)
    except Exception as error:  # what transformers cannot build is no case
        return Checked(model_type, name, (), (), "", f"{type(error).__name__}: {error}"[:120])
    ours, basis = _predicted(facts)
    return Checked(model_type, name, ours, theirs, basis)


def _truth(facts: ModelFacts, name: str, mode: Mode) -> int:
    found = exact_weights(dict(facts.config or {}), name, scheme=mode.scheme, dtype="BF16")
    if not isinstance(found, ExactParts):
        raise TypeError(found.reason)
    return found.load_bytes


def _predicted(facts: ModelFacts) -> tuple[tuple[int, ...], str]:
    model = footprint.model_of(facts)
    found = [weighing.weigh(model, mode) for mode in MODES]
    sure = all(weighing.why_estimate(model, mode) is None for mode in MODES)
    sizes = tuple(-1 if isinstance(each, Unknown) else sum(each[:3]) for each in found)
    return sizes, "exact" if sure else "estimate"


def table(checked: Sequence[Checked]) -> str:
    """The page: what agrees, and every type that does not, with its basis."""
    import transformers

    built = [each for each in checked if each.theirs]
    equal = sum(each.agrees for each in built)
    wrong = [each for each in built if not each.agrees and each.basis == "exact"]
    lines = [
        "# Memory from headers alone, against transformers' own classes",
        "",
        f"`python -m tools.check_memory`, transformers {transformers.__version__}: of "
        f"{len(checked)} model types {len(built)} can be built from their default configuration; "
        f"for {equal} of these ({equal / max(len(built), 1):.1%}) the bytes of weights, "
        "quantization state and buffers at 16 bit and at 4 bit (nf4) are equal to the byte. "
        "The others are told as estimates"
        + (f"; {len(wrong)} of them since this table was made." if wrong else "."),
        "",
        "| model type | class | 16 bit | off | 4 bit | off | told as |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
        *(_line(each) for each in built),
        "",
        "Not built from their defaults: "
        + ", ".join(f"{each.model_type}" for each in checked if not each.theirs)
        + ".",
        "",
    ]
    return "\n".join(lines)


def _line(each: Checked) -> str:
    cells = [each.model_type, each.class_name]
    for ours, theirs in zip(each.ours, each.theirs, strict=True):
        cells += [f"{theirs:,}", f"{ours - theirs:+,}" if ours != theirs else "0"]
    return f"| {' | '.join([*cells, each.basis])} |"


def main(argv: Sequence[str]) -> int:
    """Run over the types asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="TYPE")
    parser.add_argument("--part", default="1/1", metavar="N/OF")
    parser.add_argument("--out", type=Path, help="write lines of JSON instead of the table")
    parser.add_argument("--join", nargs="+", type=Path, help="make the table of such files")
    asked = parser.parse_args(argv)
    if asked.join:
        _write(sorted(_read(asked.join)))
        return 0
    part, of = map(int, asked.part.split("/"))
    types = asked.only or knowledge_build.model_types()[part - 1 :: of]
    found = []
    for model_type in types:
        found.append(check(model_type))
        if asked.only or not found[-1].agrees:
            sys.stdout.write(f"{found[-1]}\n")
            sys.stdout.flush()
        if asked.out:
            with asked.out.open("a") as stream:
                stream.write(json.dumps(found[-1]) + "\n")
    if not asked.only and not asked.out:
        _write(found)
    return 0


def _write(found: Sequence[Checked]) -> None:
    TABLE.write_text(table(found))
    differ = {each.model_type: _off(each) for each in found if each.theirs and not each.agrees}
    knowledge_tables.write("differs", differ)


def _off(each: Checked) -> int:
    """The most bytes by which a mode is off."""
    pairs = zip(each.ours, each.theirs, strict=True)
    return max((ours - theirs for ours, theirs in pairs), key=abs)


def _read(paths: Iterable[Path]) -> Iterator[Checked]:
    for path in paths:
        for line in path.read_text().splitlines():
            kind, name, ours, theirs, basis, note = json.loads(line)
            yield Checked(kind, name, tuple(ours), tuple(theirs), basis, note)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
