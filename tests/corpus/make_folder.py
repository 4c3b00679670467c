"""Write the corpus of folders: what files beside each other and their JSON can get wrong."""

from __future__ import annotations

from pathlib import Path

from tests.builders import folders, gguf, safetensors
from tests.builders.folders import BERT, gguf_weights, sharded, split_gguf, weights

HERE = Path(__file__).parent
PIPELINE = {
    "_class_name": "TestPipeline",
    "_diffusers_version": "0.30.0",
    "scheduler": ["diffusers", "TestScheduler"],
    "safety_checker": [None, None],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"},
]
SHARD = "model-0000{}-of-00002.safetensors"

GOOD: dict[str, dict[str, object]] = {
    "plain": {"model.safetensors": weights("a", "b"), "config.json": BERT},
    "config-alone": {"config.json": BERT},
    "config-with-words-for-numbers": {"config.json": '{"a": NaN, "b": -Infinity, "c": 1e999}'},
    "config-with-a-byte-order-mark": {"config.json": b'\xef\xbb\xbf{"model_type": "bert"}'},
    "several-sets": {
        "model.safetensors": weights("a"),
        "model.fp16.safetensors": weights("a", dtype="F16"),
        "training_args.bin": b"never opened",
        "optimizer.bin": b"never opened",
    },
    "pile": {"one.safetensors": weights("a"), "two.gguf": gguf_weights("b")},
    "alternatives": {
        "m.F32.gguf": gguf_weights("a"),
        "m.F16.gguf": gguf_weights("a"),
    },
    "six-digit-shards": {
        "model-00001-of-000002.safetensors": weights("a"),
        "model-00002-of-000002.safetensors": weights("b"),
    },
    "variant-shards": {
        "m.fp16-00001-of-00001.safetensors": weights("a"),
        "m.safetensors.index.fp16.json": safetensors.index(
            {"a": "m.fp16-00001-of-00001.safetensors"}, 8
        ),
    },
    "lora": {
        "adapter_config.json": {"peft_type": "LORA", "r": 8},
        "adapter_model.safetensors": weights("base_model.model.q_proj.lora_A.weight"),
    },
    "sentence-transformers": {
        "modules.json": MODULES,
        "config.json": BERT,
        "model.safetensors": weights("embeddings.weight"),
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
        "2_Dense/config.json": {"in_features": 2},
        "2_Dense/model.safetensors": weights("linear.weight", "linear.bias"),
    },
    "diffusers": {
        "model_index.json": PIPELINE,
        "scheduler/scheduler_config.json": {"beta_end": 0.012},
        "unet/config.json": {"in_channels": 4},
        "unet/diffusion_pytorch_model.safetensors": weights("conv_in.weight"),
        "vae/config.json": {"latent_channels": 4},
        "vae/diffusion_pytorch_model.safetensors": weights("conv_in.weight"),
    },
}

BAD: dict[str, dict[str, object]] = {
    "InvalidJson--config-cut-short": {"config.json": '{"model_type": "be'},
    "InvalidJson--config-empty": {"config.json": ""},
    "InvalidJson--config-not-utf8": {"config.json": b'{"a": "\xff"}'},
    "InvalidJson--config-utf-16": {"config.json": '{"a": 1}'.encode("utf-16")},
    "InvalidJson--config-single-quotes": {"config.json": "{'a': 1}"},
    "InvalidJson--config-two-values": {"config.json": "{} {}"},
    "InvalidJson--config-number-of-5000-digits": {"config.json": '{"a": ' + "9" * 5000 + "}"},
    "InvalidJson--config-a-page": {"config.json": "<!DOCTYPE html><html></html>"},
    "InvalidJson--adapter": {"adapter_config.json": "r: 8"},
    "InvalidJson--model-index": {"model_index.json": '{"unet": ['},
    "InvalidJson--component": {
        "model_index.json": PIPELINE,
        "unet/config.json": "{",
        "unet/diffusion_pytorch_model.safetensors": weights("a"),
    },
    "NotAnObject--config-list": {"config.json": [1]},
    "NotAnObject--config-null": {"config.json": "null"},
    "NotAnObject--config-string": {"config.json": '"bert"'},
    "NotAnObject--config-number": {"config.json": "1"},
    "NotAnObject--modules": {"modules.json": {"0": MODULES[0]}},
    "NestedTooDeep--config-lists": {"config.json": '{"a": ' + "[" * 2000 + "]" * 2000 + "}"},
    "NestedTooDeep--config-objects": {"config.json": '{"a":' * 65 + "1" + "}" * 65},
    "ComponentPathEscape--parent": {"modules.json": [{"path": "../other"}]},
    "ComponentPathEscape--inside-and-out": {"modules.json": [{"path": "a/../../b"}]},
    "ComponentPathEscape--absolute": {"modules.json": [{"path": "/etc"}]},
    "ComponentPathEscape--backslash": {"modules.json": [{"path": "..\\other"}]},
    "ComponentPathEscape--drive": {"modules.json": [{"path": "C:/other"}]},
    "ComponentPathEscape--nul": {"modules.json": [{"path": "a\0b"}]},
    "TooManyComponents--modules": {"modules.json": [{}] * 257},
    "MissingShard--without-index": {SHARD.format(1): weights("a")},
    "MissingShard--first-of-gguf": {
        "m-00002-of-00002.gguf": split_gguf()["m-00002-of-00002.gguf"]
    },
    "TensorInTwoShards--without-index": {
        SHARD.format(1): weights("a", "b"),
        SHARD.format(2): weights("b", "c"),
    },
    "TruncatedFile--one-shard-of-two": {
        SHARD.format(1): weights("a"),
        SHARD.format(2): gguf.build([gguf.f32("b", 32)])[:60],
    },
    "NotGguf--a-page": {"model.gguf": "<!DOCTYPE html>"},
    "LfsPointer--alone": {
        "model.safetensors": "version https://git-lfs.github.com/spec/v1\nsize 100\n"
    },
    "TensorNotInIndex--in-the-second": {
        **sharded(),
        SHARD.format(2): weights("b", "c"),
    },
}  # fmt: skip


def files() -> dict[Path, bytes]:
    """Every file of the corpus by its path, relative to the corpus."""
    return {
        Path(side, "folder", name, inner): folders.encoded(content)
        for side, cases in (("good", GOOD), ("bad", BAD))
        for name, case in cases.items()
        for inner, content in case.items()
    }


def main() -> None:
    """Write the files where they are committed."""
    folders.write(HERE, {str(path): data for path, data in files().items()})


if __name__ == "__main__":
    main()
