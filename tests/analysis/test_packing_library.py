"""What would be packed, against the modules that transformers hands to bitsandbytes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from modelscope_cli.analysis import packing, params
from modelscope_cli.facts import ModelFacts, ModelRef
from modelscope_cli.schemes.base import Options
from tests.analysis.tables import table

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 96,
}
T5 = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 1, "num_heads": 4, "vocab_size": 96}
GPT2 = {"n_embd": 64, "n_layer": 1, "n_head": 4, "vocab_size": 96}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("BertForMaskedLM", "bert", SIZES),
    ("BertModel", "bert", SIZES),
    ("BertForPreTraining", "bert", SIZES),
    ("BertForSequenceClassification", "bert", SIZES),
    ("BertForQuestionAnswering", "bert", SIZES),
    ("RobertaForMaskedLM", "roberta", SIZES),
    ("ElectraForMaskedLM", "electra", {**SIZES, "embedding_size": 32}),
    ("T5ForConditionalGeneration", "t5", T5),
    ("MT5ForConditionalGeneration", "mt5", T5),
    ("CLIPModel", "clip", {}),
    ("SiglipModel", "siglip", {}),
    ("FalconForCausalLM", "falcon", SIZES),
    ("GPT2LMHeadModel", "gpt2", GPT2),
    ("LlamaForCausalLM", "llama", SIZES),
    ("LlamaForSequenceClassification", "llama", SIZES),
    ("GPTNeoXForCausalLM", "gpt_neox", SIZES),
    ("PhiForCausalLM", "phi", SIZES),
    ("ViTForImageClassification", "vit", SIZES),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("class_", "model_type", "sizes"), CASES, ids=[case[0] for case in CASES])
def test_what_bitsandbytes_would_pack(class_: str, model_type: str, sizes: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra live")
    transformers = pytest.importorskip("transformers", reason="needs the extra live")
    config = transformers.CONFIG_MAPPING[model_type](**sizes)
    with torch.device("meta"):
        model = getattr(transformers, class_)(config)
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    state = {name: each for name, each in model.state_dict().items() if name not in tied}
    saved = table([(name, "BF16", tuple(each.shape)) for name, each in state.items()])
    facts = ModelFacts(ModelRef("m", "directory"), saved, config=config.to_dict())
    rows = params.examine(facts, saved, params.Choice()).folded()
    found = packing.what_if(rows, saved, "nf4", Options(), facts.config)
    ours = {saved.names[index] for row in found.packed for index in row.row.indices}
    assert ours == converted(model, torch) & set(saved.names)


def converted(model: Any, torch: Any) -> set[str]:
    """Weights of the modules that are replaced: Linear itself and Conv1D, but the skip list."""
    from transformers.pytorch_utils import Conv1D
    from transformers.quantizers.base import get_keys_to_not_convert

    kept = [*get_keys_to_not_convert(model), *(model._keep_in_fp32_modules or [])]
    return {
        f"{name}.weight"
        for name, module in model.named_modules()
        if type(module) in (torch.nn.Linear, Conv1D)
        and not any(re.match(rf"{key}(\.|$)", name) or name.endswith(key) for key in kept)
    }
