"""Ties of the classes that name their embeddings each in its own way, asked of transformers."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from modelscope_cli.analysis import params
from modelscope_cli.facts import TensorTable
from modelscope_cli.load import How, open_model

WHY = "asks transformers and torch, which the test extra leaves out"

VOCABULARY = {"vocab_size": 40, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BERT = {
    "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12,
    "max_position_embeddings": 40,
}  # fmt: skip
SEQ2SEQ = {
    "d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 12, "decoder_ffn_dim": 12,
    "decoder_start_token_id": 1, "max_position_embeddings": 40,
}  # fmt: skip
T5 = {"d_model": 8, "d_kv": 4, "d_ff": 12, "num_layers": 1, "num_heads": 2}
CLASSES: dict[str, dict[str, Any]] = {
    "BertForMaskedLM": BERT,
    "RobertaForMaskedLM": BERT,
    "DistilBertForMaskedLM": {"dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 12},
    "ElectraForMaskedLM": {**BERT, "embedding_size": 8},
    "AlbertForMaskedLM": {**BERT, "embedding_size": 8},
    "XLNetLMHeadModel": {"d_model": 8, "n_layer": 1, "n_head": 2, "d_inner": 12},
    "WhisperForConditionalGeneration": {
        **SEQ2SEQ, "num_mel_bins": 4, "max_source_positions": 10, "max_target_positions": 40,
    },
    "T5ForConditionalGeneration": T5,
    "BartForConditionalGeneration": SEQ2SEQ,
    "MarianMTModel": SEQ2SEQ,
    "GPT2LMHeadModel": {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 40},
    "OPTForCausalLM": {**BERT, "ffn_dim": 12, "word_embed_proj_dim": 8},
    "ModernBertForMaskedLM": BERT,
    "XLMWithLMHeadModel": {"emb_dim": 8, "n_layers": 1, "n_heads": 2, "n_words": 40},
    "MambaForCausalLM": {"hidden_size": 8, "num_hidden_layers": 1, "state_size": 2},
}  # fmt: skip


def save(folder: Path, made: Any, ties: bool) -> None:
    """The model with every name of its state dict, tied or not, as older releases wrote it."""
    from safetensors.torch import save_file

    copies = {name: tensor.clone().contiguous() for name, tensor in made.state_dict().items()}
    if not ties and "lm_head.weight" in copies:
        copies["lm_head.weight"] += 1
    save_file(copies, folder / "model.safetensors", metadata={"format": "pt"})
    config = {**made.config.to_dict(), "tie_word_embeddings": ties}
    (folder / "config.json").write_text(json.dumps(config, default=str))


def examined(folder: Path) -> params.Params:
    facts = open_model(str(folder), How())
    assert isinstance(facts.tensors, TensorTable)
    return params.examine(facts, facts.tensors, params.Choice())


@pytest.mark.parametrize("ties", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("name", CLASSES)
def test_both_tensors_in_the_file(name: str, ties: bool, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason=WHY)
    pytest.importorskip("safetensors", reason=WHY)
    transformers: Any = pytest.importorskip("transformers", reason=WHY)
    cls = getattr(transformers, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = cls(cls.config_class(**{**VOCABULARY, **CLASSES[name]}))
        save(tmp_path, made, ties)
        truth = cls.from_pretrained(tmp_path)
    found = examined(tmp_path)
    assert found.loaded.parameters == sum(p.numel() for p in truth.parameters())
    assert bool(found.loaded.tied) is any(truth.all_tied_weights_keys)


LLAMA = {
    "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12,
}  # fmt: skip


@pytest.mark.parametrize("key", ["dtype", "torch_dtype", None])
def test_floats_are_loaded_at_the_dtype_of_the_configuration(
    key: str | None, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason=WHY)
    pytest.importorskip("safetensors", reason=WHY)
    transformers: Any = pytest.importorskip("transformers", reason=WHY)
    made = transformers.LlamaForCausalLM(transformers.LlamaConfig(**VOCABULARY, **LLAMA))
    made.save_pretrained(tmp_path, max_shard_size="2KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    config = {**made.config.to_dict(), key or "x": "bfloat16"}
    config = {k: v for k, v in config.items() if k == key or "dtype" not in k}
    (tmp_path / "config.json").write_text(json.dumps(config))
    truth = transformers.LlamaForCausalLM.from_pretrained(tmp_path)
    found = examined(tmp_path)
    assert found.loaded.bytes == sum(p.nbytes for p in truth.parameters())
    assert found.totals.bytes == sum(p.nbytes for p in made.parameters())
