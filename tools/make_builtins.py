"""Write the built-in models: `python -m tools.make_builtins [NAME ...]`.

Each is the published config.json and the tensor list that `save_pretrained` would write for it,
taken from transformers' own class on the meta device. Needs torch and transformers.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from modelscope_cli.dtypes import TORCH

FOLDER = Path(__file__).parent.parent / "modelscope_cli" / "data" / "builtin"
Row = tuple[str, str, list[int]]


class Spec(NamedTuple):
    """What a built-in is made from. `basis` says where names, dtypes and config come from.

    `old_buffers` are buffers that the published file holds and today's class no longer saves.
    `note` is shown whenever the model is looked at.
    """

    model_class: str
    config: Mapping[str, Any]
    basis: str
    old_buffers: tuple[str, ...] = ()
    note: str | None = None


_MIXTRAL = {
    "architectures": ["MixtralForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "model_type": "mixtral",
    "num_attention_heads": 32,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "output_router_logits": False,
    "rms_norm_eps": 1e-05,
    "rope_theta": 1000000.0,
    "router_aux_loss_coef": 0.02,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": 57002,
}
_LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 128000,
    "eos_token_id": 128001,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 14336,
    "max_position_embeddings": 8192,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": 128256,
}
_BERT = {
    "architectures": ["BertModel"],
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "model_type": "bert",
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "torch_dtype": "float32",
    "type_vocab_size": 2,
    "use_cache": True,
    "vocab_size": 30522,
}
_CLIP_TOWER = {
    "attention_dropout": 0.0,
    "dropout": 0.0,
    "hidden_act": "quick_gelu",
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-05,
    "projection_dim": 768,
}
_CLIP = {
    "architectures": ["CLIPModel"],
    "initializer_factor": 1.0,
    "logit_scale_init_value": 2.6592,
    "model_type": "clip",
    "projection_dim": 768,
    "text_config": {
        **_CLIP_TOWER,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "max_position_embeddings": 77,
        "model_type": "clip_text_model",
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "pad_token_id": 1,
        "vocab_size": 49408,
    },
    "torch_dtype": "float32",
    "vision_config": {
        **_CLIP_TOWER,
        "hidden_size": 1024,
        "image_size": 336,
        "intermediate_size": 4096,
        "model_type": "clip_vision_model",
        "num_attention_heads": 16,
        "num_channels": 3,
        "num_hidden_layers": 24,
        "patch_size": 14,
    },
}

SPECS = {
    "huozi3": Spec(
        "MixtralForCausalLM",
        _MIXTRAL,
        "mistralai/Mixtral-8x7B-v0.1's config with HIT-SCIR/huozi3's vocabulary of 57,002; "
        "names as save_pretrained writes them (one tensor an expert and matrix); "
        "dtype: torch_dtype of the config, as in the published 88 GB",
    ),
    "llama3-8b": Spec(
        "LlamaForCausalLM",
        _LLAMA,
        "meta-llama/Meta-Llama-3-8B's config; names as save_pretrained writes them; "
        "dtype: torch_dtype of the config",
    ),
    "bert-base-uncased": Spec(
        "BertModel",
        _BERT,
        "google-bert/bert-base-uncased's config with class BertModel and torch_dtype float32, "
        "torch's default and what the published file holds; names as save_pretrained writes them",
        note="BertModel as save_pretrained writes it: the published file also holds the "
        "pre-training heads, and calls its tensors bert.* and its norms gamma and beta",
    ),
    "clip-vit-large-patch14-336": Spec(
        "CLIPModel",
        _CLIP,
        "openai/clip-vit-large-patch14-336's config without generation defaults; names as "
        "save_pretrained wrote them up to transformers 4.30, with the position_ids buffers; "
        "dtype: torch_dtype of the config. The published weights are a pytorch_model.bin of "
        "1,711,974,081 bytes: 427,944,193 x 4 + 654 x 8, and 192,077 of zip and pickle",
        old_buffers=("position_ids",),
    ),
}


def model_on_meta(spec: Spec) -> Any:
    """The real class with the built-in's config: shapes and dtypes, no memory."""
    import torch
    import transformers

    config = json.loads(json.dumps(spec.config))  # from_dict takes things out of what it is given
    built = transformers.CONFIG_MAPPING[config["model_type"]].from_dict(config)
    default = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, spec.config["torch_dtype"]))
    try:
        with torch.device("meta"):
            return getattr(transformers, spec.model_class)(built)
    finally:
        torch.set_default_dtype(default)


def tensor_rows(spec: Spec, model: Any) -> list[Row]:
    """Name, dtype and shape of every tensor, in the order of the model's modules."""
    # transformers 5 keeps experts fused; this is what its save_pretrained calls.
    from transformers.core_model_loading import revert_weight_conversion

    own = model.state_dict()
    saved = revert_weight_conversion(model, dict(own))
    order = _in_module_order(list(own), list(saved))
    rows = [_row(name, saved[name]) for name in order]
    for name, buffer in model.named_buffers():
        if name.rpartition(".")[2] in spec.old_buffers and name not in saved:
            module = name.rpartition(".")[0]
            # state_dict lists a module's own parameters and buffers before its children's.
            at = next(i for i, row in enumerate(rows) if _below(row[0], module))
            rows.insert(at, _row(name, buffer))
    return rows


def document(spec: Spec, rows: Iterable[Row]) -> bytes:
    """The file's text before compression: one line for each tensor, so that diffs can be read."""
    head = {
        "class": spec.model_class,
        "basis": spec.basis,
        "note": spec.note,
        "config": spec.config,
    }
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    return f'{json.dumps(head, indent=1)[:-2]},\n "tensors": [\n{lines}\n]}}\n'.encode()


def main(names: list[str]) -> None:
    """Write the files of the built-ins named, or of all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names or SPECS:
        spec = SPECS[name]
        text = document(spec, tensor_rows(spec, model_on_meta(spec)))
        (FOLDER / f"{name}.json.gz").write_bytes(gzip.compress(text, 9, mtime=0))


def _row(name: str, tensor: Any) -> Row:
    return name, TORCH[str(tensor.dtype).removeprefix("torch.")].name, list(tensor.shape)


def _below(name: str, module: str) -> bool:
    return name.startswith(f"{module}.") and "." in name[len(module) + 1 :]


def _in_module_order(own: list[str], saved: list[str]) -> list[str]:
    """`saved` as the class orders its modules: what was renamed or split stands where it was."""
    place = {name: index for index, name in enumerate(own)}
    gone = [name for name in own if name not in set(saved)]
    anchors: dict[str, int] = {}
    for name in gone:
        anchors.setdefault(_block(name), place[name])

    def key(name: str) -> tuple[int, list[tuple[int, str]]]:
        return place.get(name, anchors.get(_block(name), len(own))), _natural(name)

    return sorted(saved, key=key)


def _block(name: str) -> str:
    """`model.layers.3` of `model.layers.3.mlp.…`: the name up to its first number."""
    parts = name.split(".")
    numbers = [index for index, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[0] + 1]) if numbers else name


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]


if __name__ == "__main__":
    main(sys.argv[1:])
