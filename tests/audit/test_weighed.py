"""F003 and M003: rules that know classes and what models weigh."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from tests.audit.conftest import Audit
from tests.builders import safetensors
from tests.builders.safetensors import Tensor
from tests.running import Run

pytest.importorskip("modelscope_cli.footprint", reason="what weighs a model is not there")

_LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8,
    "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "vocab_size": 32, "torch_dtype": "bfloat16",
    "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False,
}  # fmt: skip
_LAYER = {
    "input_layernorm.weight": (8,), "post_attention_layernorm.weight": (8,),
    "self_attn.q_proj.weight": (8, 8), "self_attn.k_proj.weight": (8, 8),
    "self_attn.v_proj.weight": (8, 8), "self_attn.o_proj.weight": (8, 8),
    "mlp.gate_proj.weight": (16, 8), "mlp.up_proj.weight": (16, 8),
    "mlp.down_proj.weight": (8, 16),
}  # fmt: skip
_REST = {"model.embed_tokens.weight": (32, 8), "model.norm.weight": (8,), "lm_head.weight": (32, 8)}


def _llama(
    *more: Tensor, layers: int = 2, lacks: str | None = None, **config: Any
) -> dict[str, object]:
    shapes: dict[str, tuple[int, ...]] = dict(_REST)
    for layer in range(layers):
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in _LAYER.items()}
    tensors = [Tensor(name, "BF16", shape) for name, shape in shapes.items() if name != lacks]
    weights = safetensors.build([*tensors, *more])
    return {"config.json": {**_LLAMA, **config}, "model.safetensors": weights}


def test_a_whole_model_passes_without_any_library(audit: Audit) -> None:
    assert audit(_llama(), "--select", "F003").status("F003") == "passed"


def test_a_tied_head_need_not_be_there(audit: Audit) -> None:
    files = _llama(lacks="lm_head.weight", tie_word_embeddings=True)
    assert audit(files, "--select", "F003").status("F003") == "passed"


def test_a_tensor_that_no_class_loads_is_a_warning(audit: Audit) -> None:
    said = audit(_llama(Tensor("model.extra.weight", "BF16")), "--select", "F003")
    assert said.code == 0
    assert said.one("F003")["severity"] == "warning"
    assert "model.extra.weight" in said.one("F003")["message"]


def test_a_buffer_that_the_class_makes_itself_is_no_finding(audit: Audit) -> None:
    rope = Tensor("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", (2,))
    assert audit(_llama(rope), "--select", "F003").status("F003") == "passed"


def test_layers_that_only_one_side_has(audit: Audit) -> None:
    said = audit(_llama(layers=1), "--select", "F003")
    assert said.code == 1
    assert said.findings("F003")
    said = audit(_llama(layers=3), "--select", "F003")
    assert said.code == 0
    for each in said.findings("F003"):
        assert "beyond the layers" in each["message"]
        assert each["message"].startswith("model.layers.2.")


def test_a_tensor_that_is_missing_is_told_by_the_class_itself(audit: Audit) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    said = audit(_llama(lacks=name), "--select", "F003")
    if find_spec("transformers") is None:
        assert "pip install 'modelscope-cli[live]'" in said.reason("F003")
        assert audit(None, "--select", "F003", "--strict").code == 1
        return
    assert said.code == 1
    assert said.one("F003")["tensor"] == name


@pytest.mark.parametrize(
    "config", [{"model_type": "nothing"}, {"model_type": None}], ids=["unknown", "none"]
)
def test_of_a_class_that_is_not_known_nothing_is_said(audit: Audit, config: dict[str, Any]) -> None:
    assert audit(_llama(**config), "--select", "F003").status("F003") == "skipped"


def _memory(text: str) -> str:
    return f"[audit.memory]\n{text}\n"


@pytest.mark.parametrize(
    ("limit", "code"),
    [('fits = "1x24GiB"', 0), ('fits = "1x1GiB"', 0), ('most = "20GiB"', 0), ("most = 1000", 1)],
)
def test_memory_of_a_small_model(audit: Audit, limit: str, code: int) -> None:
    said = audit(_llama(), "--select", "M003", policy=_memory(limit))
    assert (said.code, said.status("M003")) == (code, "failed" if code else "passed")


@pytest.mark.parametrize(
    ("cards", "status"), [("1x24GiB", "failed"), ("1x80GiB", "failed"), ("8x80GiB", "passed")]
)
def test_cards_that_a_built_in_needs(audit: Audit, cards: str, status: str) -> None:
    policy = _memory(f'fits = "{cards}"\nbits = 16\ncontext = "4k"')
    said = audit(None, "--select", "M003", policy=policy, model="builtin:huozi3")
    assert said.status("M003") == status


def test_the_figure_is_that_of_the_memory_command(audit: Audit, run: Run) -> None:
    import json

    policy = _memory('most = "1GiB"\nbits = 4\ncontext = 8192')
    said = audit(None, "--select", "M003", policy=policy, model="builtin:llama3-8b")
    argv = ("builtin:llama3-8b", "--bits", "4", "--context", "8192", "--runtime", "0", "--json")
    asked = json.loads(run("memory", *argv).out)
    assert f"takes {asked['card_bytes']:,} bytes" in said.one("M003")["message"]


@pytest.mark.parametrize(
    "text",
    [
        'fits = "a lot"',
        'most = "1GiB"\nbits = 5',
        'most = "1GiB"\nbits = 8\nquant = "nf4"',
        'most = "1GiB"\ncontext = "long"',
        'most = "1GiB"\nquant = "q9"',
    ],
)
def test_memory_that_makes_no_sense_is_a_usage_error(audit: Audit, text: str) -> None:
    said = audit(_llama(), policy=_memory(text))
    assert said.code == 2
    assert "audit.memory" in said.err
