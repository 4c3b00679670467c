"""The cache of a GGUF: llama.cpp's rules, model by model, written out as numbers."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.analysis.memory.gguf import architectures as gguf_architectures
from modelscope_cli.analysis.memory.gguf import cache as gguf_cache
from modelscope_cli.analysis.memory.gguf import compute as gguf_compute
from modelscope_cli.analysis.memory.gguf import states as gguf_states
from modelscope_cli.analysis.memory.gguf import windows as gguf_windows
from modelscope_cli.analysis.memory.gguf.cache import LLAMA_TYPES, Tokens
from modelscope_cli.analysis.memory.kv.cache import KVCache
from modelscope_cli.dtypes import DTYPES
from modelscope_cli.facts import Unknown
from modelscope_cli.formats import gguf as reader
from modelscope_cli.sources.local import LocalFile
from tests.builders import gguf

Keys = dict[str, Any]
SHAPE: Keys = {
    "block_count": 4, "embedding_length": 64, "attention.head_count": 8,
    "attention.head_count_kv": 2, "context_length": 32768, "feed_forward_length": 256,
}  # fmt: skip
GEMMA: Keys = {
    "block_count": 18, "context_length": 32768, "embedding_length": 640,
    "feed_forward_length": 2048, "attention.head_count": 4, "attention.head_count_kv": 1,
    "attention.key_length": 256, "attention.value_length": 256, "attention.sliding_window": 512,
}  # fmt: skip
ONE = Tokens(1, 4096)


def _metadata(architecture: str, keys: Mapping[str, Any]) -> Keys:
    named = {f"{architecture}.{key}": value for key, value in keys.items() if value is not None}
    return {"general.architecture": architecture, **named}


def _cache(
    architecture: str = "llama", tokens: Tokens = ONE, dtype: str = "F16", **keys: Any
) -> KVCache:
    found = _answer(architecture, tokens, dtype, **keys)
    assert isinstance(found, KVCache), found
    return found


def _answer(
    architecture: str = "llama", tokens: Tokens = ONE, dtype: str = "F16", **keys: Any
) -> KVCache | Unknown:
    spelled = {key.replace("__", "."): value for key, value in keys.items()}
    return gguf_cache.llama(_metadata(architecture, {**SHAPE, **spelled}), tokens, dtype)


def _kinds(cache: KVCache) -> dict[str, tuple[int, int]]:
    return {layer.kind: (layer.count, layer.bytes) for layer in cache.layers}


# What every block keeps


def test_gemma_as_llama_cpp_logged_it() -> None:
    """`3 layers, 4096 cells: 12.00 MiB` and `15 layers, 1024 cells: 15.00 MiB`, Gemma 3 270M."""
    found = gguf_cache.llama(_metadata("gemma3", GEMMA), ONE, "F16")
    assert isinstance(found, KVCache)
    assert _kinds(found) == {"full": (3, 12 * 2**20), "sliding": (15, 15 * 2**20)}
    assert (found.bytes, found.peak_bytes, found.basis) == (27 * 2**20, 27 * 2**20, "exact")
    assert found.bytes_per_token == 3 * 2 * 256 * 2  # a full window takes no more


SMALL: Keys = {
    "block_count": 4, "embedding_length": 256, "attention.head_count": 4,
    "attention.head_count_kv": 2, "attention.key_length": 64, "attention.value_length": 64,
}  # fmt: skip
WINDOW: Keys = {**SMALL, "attention.sliding_window": 300}
MAMBA: Keys = {
    "block_count": 4, "embedding_length": 256, "attention.head_count": 0, "ssm.conv_kernel": 4,
    "ssm.inner_size": 512, "ssm.state_size": 16,
}  # fmt: skip
LATENT: Keys = {
    "block_count": 2, "embedding_length": 256, "attention.head_count": 4,
    "attention.head_count_kv": 1, "attention.key_length": 80, "attention.value_length": 64,
    "attention.key_length_mla": 48, "attention.value_length_mla": 32,
}  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "keys", "tokens", "mebibytes"),
    [
        ("gemma2", WINDOW, Tokens(1, 4096), {"full": 4.00, "sliding": 1.00}),
        ("gemma2", WINDOW, Tokens(3, 1000), {"full": 3.00, "sliding": 3.00}),
        ("gemma3", {**WINDOW, "attention.sliding_window_pattern": [True, False, True, True]},
         Tokens(1, 4096), {"full": 2.00, "sliding": 1.50}),
        ("smallthinker", WINDOW, Tokens(1, 8192), {"full": 4.00, "sliding": 6.75}),
        ("mamba", MAMBA, Tokens(2, 4096), {"ssm": 0.30}),
        ("deepseek2", LATENT, Tokens(1, 4096), {"latent": 1.25}),
    ],
)  # fmt: skip
def test_small_models_as_llama_cpp_logged_them(
    architecture: str, keys: Keys, tokens: Tokens, mebibytes: dict[str, float]
) -> None:
    """Files of these shapes, all weights zero, loaded by llama.cpp of October 2026."""
    found = gguf_cache.llama(_metadata(architecture, keys), tokens, "F16")
    assert isinstance(found, KVCache)
    logged = {layer.kind: round(layer.bytes / 2**20, 2) for layer in found.layers}
    assert logged == mebibytes


def test_full() -> None:
    found = _cache()
    assert _kinds(found) == {"full": (4, 4 * 4096 * 2 * 16 * 2)}
    assert found.bytes_per_token == 4 * 2 * 16 * 2


@pytest.mark.parametrize(
    ("context", "cells"), [(1, 256), (255, 256), (256, 256), (257, 512), (4000, 4096)]
)
def test_cells_are_padded(context: int, cells: int) -> None:
    assert _cache(tokens=Tokens(1, context)).bytes == 4 * cells * 2 * 16 * 2


def test_sequences_have_a_cache_each() -> None:
    assert _cache(tokens=Tokens(3, 4096)).bytes == 3 * _cache().bytes


def test_head_widths() -> None:
    assert _cache(attention__key_length=32).bytes == 4 * 4096 * 2 * (32 + 8) * 2
    assert _cache(attention__value_length=32).bytes == 4 * 4096 * 2 * (8 + 32) * 2
    assert _cache(attention__head_count_kv=None).bytes == 4 * 4096 * 8 * 16 * 2


def test_heads_of_each_block() -> None:
    """DeciLM's: some blocks have none."""
    found = _cache("deci", attention__head_count_kv=[2, 0, 1, 0])
    assert _kinds(found) == {"full": (2, 3 * 4096 * 16 * 2)}


def test_blocks_that_only_predict_have_no_cells() -> None:
    found = _cache("glm4moe", nextn_predict_layers=1)
    assert _kinds(found)["full"][0] == 3


@pytest.mark.parametrize("dtype", LLAMA_TYPES)
def test_dtypes(dtype: str) -> None:
    found = _cache(dtype=dtype, embedding_length=512)
    assert found.bytes == DTYPES[dtype].size(4 * 4096 * 2 * (64 + 64))


def test_a_head_that_fills_no_block_is_refused() -> None:
    found = _answer(dtype="Q8_0", attention__key_length=24, attention__value_length=24)
    assert found == Unknown("q8_0 packs 32 values, a head has 24: llama.cpp refuses it")


# Windows


def test_windows_and_their_cells() -> None:
    """cohere2: three of four slide; the window plus 512, padded to 256, never over the context."""
    found = _cache("cohere2", attention__sliding_window=100)
    each = 2 * 16 * 2
    assert _kinds(found) == {"full": (1, 4096 * each), "sliding": (3, 3 * 768 * each)}
    short = _cache("cohere2", Tokens(1, 300), attention__sliding_window=100)
    assert _kinds(short) == {"full": (1, 512 * each), "sliding": (3, 3 * 512 * each)}
    assert short.bytes_per_token == 4 * each  # sliding blocks still grow


@pytest.mark.parametrize(
    ("architecture", "keys", "sliding"),
    [
        ("gemma2", {}, 2),  # every other, 4096 by default
        ("gpt-oss", {"attention.sliding_window": 128}, 2),
        ("gemma3", {"attention.sliding_window": 128}, 4),  # 5 of 6
        ("gemma3", {}, 0),
        ("gemma3", {"attention.sliding_window": 0}, 0),
        ("gemma3", {"attention.sliding_window": 128, "attention.sliding_window_pattern": 2}, 2),
        ("gemma3", {"attention.sliding_window": 8,
                    "attention.sliding_window_pattern": [True, False, False, True]}, 2),
        ("llama4", {}, 3),
        ("llama4", {"attention.sliding_window": 0}, 0),
        ("smallthinker", {"attention.sliding_window": 1}, 3),
        ("exaone4", {"attention.sliding_window": 128}, 0),  # of 64 blocks only
        ("phi3", {"attention.sliding_window": 128}, 0),  # switched off in llama.cpp
        ("llama", {"attention.sliding_window": 128}, 0),  # Mistral's is not used
        ("qwen2", {"attention.sliding_window": 128}, 0),
        ("mimo2", {"attention.sliding_window": 128,
                   "attention.sliding_window_pattern": [1, 1, 1, 0]}, 3),
    ],
)  # fmt: skip
def test_which_blocks_slide(architecture: str, keys: Keys, sliding: int) -> None:
    metadata = _metadata(architecture, {**SHAPE, **keys})
    found = gguf_cache.llama(metadata, Tokens(1, 2**20), "F16")
    assert isinstance(found, KVCache)
    assert _kinds(found).get("sliding", (0, 0))[0] == sliding


def test_the_first_of_a_period_or_the_last() -> None:
    def widths(architecture: str) -> list[int]:
        keys = {**SHAPE, "attention.sliding_window": 8, "attention.head_count_kv": [1, 2, 3, 4]}
        found = gguf_cache.llama(_metadata(architecture, keys), ONE, "F16")
        assert isinstance(found, KVCache)
        return [layer.bytes // (layer.count * 64) for layer in found.layers if layer.kind == "full"]

    assert widths("cohere2") == [4 * 4096 * 32 // 64]
    assert widths("smallthinker") == [1 * 4096 * 32 // 64]


def test_sliding_heads_of_another_width() -> None:
    """gemma4: a list of what slides, its own head width there, blocks that share."""
    found = _cache(
        "gemma4", attention__sliding_window=100, attention__key_length=32,
        attention__value_length=32, attention__key_length_swa=16, attention__value_length_swa=16,
        attention__sliding_window_pattern=[True, False, True, False],
        attention__shared_kv_layers=1,
    )  # fmt: skip
    assert _kinds(found) == {
        "full": (1, 4096 * 2 * 64 * 2),
        "sliding": (2, 2 * 768 * 2 * 32 * 2),
        "shared": (1, 0),
    }


def test_a_list_that_is_missing() -> None:
    found = _answer("gemma4", attention__sliding_window=8)
    assert isinstance(found, Unknown)
    assert "sliding_window_pattern" in found.reason


# Latent attention, states


def test_deepseek_keeps_latent_keys_alone() -> None:
    """DeepSeek-V3 at 163,840 tokens: 61 blocks of 576 values."""
    found = _cache(
        "deepseek2", Tokens(1, 163_840), block_count=61, embedding_length=7168,
        attention__head_count=128, attention__head_count_kv=1, attention__key_length=576,
        attention__value_length=512, attention__key_length_mla=192,
        attention__value_length_mla=128,
    )  # fmt: skip
    assert _kinds(found) == {"latent": (61, 61 * 163_840 * 576 * 2)}
    assert round(found.bytes / 2**30, 2) == 10.72


def test_deepseek_converted_long_ago_keeps_all() -> None:
    found = _cache("deepseek2", attention__key_length=24, attention__value_length=16)
    assert _kinds(found) == {"full": (4, 4 * 4096 * 2 * 40 * 2)}


def test_mamba() -> None:
    keys: Keys = {"ssm.conv_kernel": 4, "ssm.inner_size": 128, "ssm.state_size": 16,
            "ssm.group_count": 2, "attention.head_count": 0,
            "attention.head_count_kv": None}  # fmt: skip
    found = gguf_cache.llama(_metadata("mamba2", {**SHAPE, **keys}), Tokens(3, 4096), "F16")
    assert isinstance(found, KVCache)
    each = 3 * (128 + 2 * 2 * 16) + 16 * 128
    assert _kinds(found) == {"ssm": (4, 3 * 4 * each * 4)}
    assert found.bytes_per_token == 0


def test_rwkv() -> None:
    found = _cache("rwkv6", attention__head_count=0, attention__head_count_kv=None,
                   wkv__head_size=16)  # fmt: skip
    assert _kinds(found) == {"linear": (4, 4 * 64 * (2 + 16) * 4)}


def test_hybrids_by_heads() -> None:
    found = _cache(
        "jamba", attention__head_count_kv=[0, 2, 0, 0], ssm__conv_kernel=4, ssm__inner_size=128,
        ssm__state_size=16,
    )  # fmt: skip
    assert _kinds(found) == {
        "full": (1, 4096 * 2 * 16 * 2),
        "ssm": (3, 3 * (3 * 128 + 16 * 128) * 4),
    }


def test_hybrids_by_interval() -> None:
    found = _cache(
        "qwen3next", ssm__conv_kernel=4, ssm__inner_size=128, ssm__state_size=16,
        ssm__group_count=2,
    )  # fmt: skip
    assert {kind: count for kind, (count, _) in _kinds(found).items()} == {"full": 1, "linear": 3}


def test_falcon_h1_has_both_in_every_block() -> None:
    found = _cache("falcon-h1", ssm__conv_kernel=4, ssm__inner_size=128, ssm__state_size=16,
                   ssm__group_count=1)  # fmt: skip
    assert {kind: count for kind, (count, _) in _kinds(found).items()} == {"full": 4, "ssm": 4}


def test_lfm2() -> None:
    found = _cache("lfm2", attention__head_count_kv=[0, 2, 0, 2], shortconv__l_cache=3)
    assert _kinds(found)["conv"] == (2, 2 * 64 * 2 * 4)


def test_nemotron_h_has_blocks_that_keep_nothing() -> None:
    found = _cache(
        "nemotron_h", attention__head_count_kv=[0, 2, 0, 0], feed_forward_length=[0, 0, 256, 0],
        ssm__conv_kernel=4, ssm__inner_size=128, ssm__state_size=16, ssm__group_count=1,
    )  # fmt: skip
    assert {kind: count for kind, (count, _) in _kinds(found).items()} == {"full": 1, "ssm": 2}


@pytest.mark.parametrize("name", ["bert", "modern-bert", "gemma-embedding", "clip", "dream"])
def test_encoders_have_none(name: str) -> None:
    found = gguf_cache.llama({"general.architecture": name}, ONE, "F16")
    assert found == KVCache((), 0, 0, 0, 0, "exact", "encoders have none")


@pytest.mark.parametrize("name", sorted(gguf_architectures.OF_THEIR_OWN))
def test_caches_of_another_kind_are_unknown(name: str) -> None:
    found = _answer(name)
    assert found == Unknown(f"llama.cpp has a kind of cache of its own for {name}")


def test_an_unknown_architecture_is_an_estimate() -> None:
    found = _cache("newmodel")
    assert (found.bytes, found.basis) == (_cache().bytes, "estimate")
    assert "newmodel is not known here" in (found.note or "")
    assert _cache().basis == "exact"


# The names


def test_no_architecture_is_in_two_tables() -> None:
    tables = [
        gguf_architectures.ENCODERS, gguf_architectures.DIFFUSION, gguf_architectures.PLAIN,
        gguf_architectures.OF_THEIR_OWN,
        frozenset(gguf_windows.ARCHITECTURES) - frozenset(gguf_states.ARCHITECTURES),
        frozenset(gguf_states.ARCHITECTURES),
    ]  # fmt: skip
    assert sum(map(len, tables)) == len(frozenset().union(*tables))


def test_every_architecture_of_the_library_is_in_a_table() -> None:
    library = pytest.importorskip("gguf", reason="asks the gguf library, which is not here")
    known = (
        gguf_architectures.ENCODERS | gguf_architectures.DIFFUSION | gguf_architectures.PLAIN
        | gguf_architectures.OF_THEIR_OWN
        | {*gguf_windows.ARCHITECTURES, *gguf_states.ARCHITECTURES}
    )  # fmt: skip
    named = set(library.MODEL_ARCH_NAMES.values())
    # T5's two stacks and GPT-J, which llama.cpp cannot run, are told as estimates.
    assert named - known == {"t5", "t5encoder", "gptj"}


def test_keys_are_what_the_library_writes() -> None:
    library = pytest.importorskip("gguf", reason="asks the gguf library, which is not here")
    keys = library.Keys
    written = {
        keys.LLM.BLOCK_COUNT: "block_count",
        keys.LLM.EMBEDDING_LENGTH: "embedding_length",
        keys.LLM.FEED_FORWARD_LENGTH: "feed_forward_length",
        keys.LLM.EXPERT_FEED_FORWARD_LENGTH: "expert_feed_forward_length",
        keys.LLM.EXPERT_USED_COUNT: "expert_used_count",
        keys.LLM.NEXTN_PREDICT_LAYERS: "nextn_predict_layers",
        keys.LLM.FULL_ATTENTION_INTERVAL: "full_attention_interval",
        keys.LLM.TOKEN_SHIFT_COUNT: "token_shift_count",
        keys.Attention.HEAD_COUNT: "attention.head_count",
        keys.Attention.HEAD_COUNT_KV: "attention.head_count_kv",
        keys.Attention.KEY_LENGTH: "attention.key_length",
        keys.Attention.VALUE_LENGTH: "attention.value_length",
        keys.Attention.KEY_LENGTH_MLA: "attention.key_length_mla",
        keys.Attention.VALUE_LENGTH_MLA: "attention.value_length_mla",
        keys.Attention.KEY_LENGTH_SWA: "attention.key_length_swa",
        keys.Attention.VALUE_LENGTH_SWA: "attention.value_length_swa",
        keys.Attention.SLIDING_WINDOW: "attention.sliding_window",
        keys.Attention.SLIDING_WINDOW_PATTERN: "attention.sliding_window_pattern",
        keys.Attention.SHARED_KV_LAYERS: "attention.shared_kv_layers",
        keys.SSM.CONV_KERNEL: "ssm.conv_kernel",
        keys.SSM.INNER_SIZE: "ssm.inner_size",
        keys.SSM.STATE_SIZE: "ssm.state_size",
        keys.SSM.GROUP_COUNT: "ssm.group_count",
        keys.KDA.HEAD_DIM: "kda.head_dim",
        keys.WKV.HEAD_SIZE: "wkv.head_size",
        keys.ShortConv.L_CACHE: "shortconv.l_cache",
    }
    assert {key.removeprefix("{arch}."): ours for key, ours in written.items()} == {
        ours: ours for ours in written.values()
    }


# As transformers would hold it


def test_transformers_holds_one_token_less_than_the_window() -> None:
    keys = _metadata("gemma3", {**GEMMA, "block_count": 6})
    found = gguf_cache.transformers(keys, ONE, "BF16")
    assert isinstance(found, KVCache)
    assert _kinds(found) == {"full": (1, 4096 * 1024), "sliding": (5, 5 * 511 * 1024)}
    assert found.peak_bytes == 6 * 4096 * 1024
    assert found.basis == "estimate"


def test_transformers_states_are_not_told() -> None:
    keys = {"attention.head_count": 0, "attention.head_count_kv": None, "wkv.head_size": 16}
    found = gguf_cache.transformers(_metadata("rwkv6", {**SHAPE, **keys}), ONE, "F32")
    assert isinstance(found, Unknown)


# Metadata that makes no sense


@pytest.mark.parametrize(
    "keys",
    [
        {"block_count": 0}, {"block_count": None}, {"block_count": 2**32 - 1},
        {"block_count": -1}, {"block_count": "4"}, {"block_count": True}, {"block_count": [4]},
        {"block_count": 4.0}, {"embedding_length": None}, {"embedding_length": "x" * 10_000},
        {"attention.head_count": "8"}, {"attention.head_count": -8},
        {"attention.head_count_kv": [1, 2, 3]}, {"attention.head_count_kv": [1, 2, 3, "4"]},
        {"attention.head_count_kv": [1, 2, 3, -4]}, {"attention.head_count_kv": []},
        {"attention.head_count_kv": [1, 2, 3, float("nan")]},
        {"attention.head_count_kv": {"a": 1}}, {"attention.head_count_kv": 10**400},
        {"attention.key_length": 2**63}, {"attention.key_length": float("inf")},
    ],
    ids=lambda keys: "-".join(f"{key}={str(value)[:9]}" for key, value in keys.items()),
)  # fmt: skip
def test_nonsense_is_unknown(keys: Keys) -> None:
    for architecture in ("llama", "gemma3", "jamba", "qwen3next"):
        metadata = _metadata(architecture, {**SHAPE, **keys})
        for found in (
            gguf_cache.llama(metadata, ONE, "F16"),
            gguf_cache.transformers(metadata, ONE, "F16"),
            gguf_compute.compute_buffer(metadata, ONE).bytes,
        ):
            assert isinstance(found, Unknown)
            assert found.reason
            assert len(found.reason) < 300


@pytest.mark.parametrize("metadata", [{}, {"general.architecture": 7}, {"block_count": 4}])
def test_without_an_architecture(metadata: Keys) -> None:
    assert isinstance(gguf_cache.llama(metadata, ONE, "F16"), Unknown)
    assert gguf_cache.context_limit(metadata) is None


VALUES = st.one_of(
    st.integers(-2, 600), st.integers(0, 2**64 - 1), st.booleans(), st.text(max_size=3),
    st.floats(), st.lists(st.one_of(st.integers(0, 9), st.booleans()), max_size=6),
)  # fmt: skip
NAMES = ("block_count", "embedding_length", "attention.head_count", "attention.head_count_kv",
         "attention.key_length", "attention.sliding_window", "attention.sliding_window_pattern",
         "nextn_predict_layers", "ssm.conv_kernel", "ssm.inner_size", "ssm.state_size",
         "full_attention_interval", "attention.recurrent_layers", "feed_forward_length",
         "attention.shared_kv_layers", "wkv.head_size", "expert_used_count")  # fmt: skip


@given(
    st.sampled_from(["llama", "gemma3", "gemma3n", "gemma4", "jamba", "qwen3next", "nemotron_h",
                     "mamba", "lfm2", "falcon-h1", "exaone4", "kimi-linear", "nobody"]),
    st.dictionaries(st.sampled_from(NAMES), VALUES),
    st.integers(1, 8), st.integers(1, 2**40),
)  # fmt: skip
def test_any_metadata_has_an_answer(
    architecture: str, keys: Keys, batch: int, context: int
) -> None:
    metadata = _metadata(architecture, {**SHAPE, **keys})
    tokens = Tokens(batch, context)
    for found in (
        gguf_cache.llama(metadata, tokens, "F16"),
        gguf_cache.transformers(metadata, tokens, "F16"),
    ):
        if isinstance(found, KVCache):
            assert found.bytes == sum(layer.bytes for layer in found.layers) >= 0
            assert found.peak_bytes >= found.bytes
            assert all(layer.count > 0 for layer in found.layers)
    size = gguf_compute.compute_buffer(metadata, tokens).bytes
    assert isinstance(size, Unknown) or size > 0


@given(st.integers(1, 2**20), st.integers(1, 2**20), st.integers(1, 4))
def test_more_context_is_never_less(one: int, other: int, batch: int) -> None:
    small, large = sorted((one, other))
    metadata = _metadata("gemma3", GEMMA)
    sizes = []
    for context in (small, large):
        found = gguf_cache.llama(metadata, Tokens(batch, context), "F16")
        assert isinstance(found, KVCache)
        sizes.append(found.bytes)
    assert sizes[0] <= sizes[1]


# The compute buffer


@pytest.mark.parametrize(
    ("keys", "context", "mebibytes"),
    [
        # What llama.cpp of October 2026 logged for Llamas of two blocks, all weights zero.
        ({}, 4096, 38.02),
        ({}, 8192, 42.02),
        ({}, 1024, 35.02),
        ({}, 256, 17.13),
        ({"block_count": 4}, 4096, 38.02),
        ({"feed_forward_length": 8192}, 4096, 62.02),
        ({"attention.head_count": 64}, 4096, 38.02),
        ({"attention.head_count": 64, "feed_forward_length": 256}, 4096, 30.02),
        ({"attention.head_count_kv": 16, "feed_forward_length": 256}, 4096, 18.02),
        ({"feed_forward_length": 1024, "expert_used_count": 2}, 4096, 26.02),
        ({"feed_forward_length": 512, "expert_used_count": 8}, 4096, 38.02),
    ],
)
def test_compute_buffers_that_llama_cpp_logged(keys: Keys, context: int, mebibytes: float) -> None:
    shape = {
        "block_count": 2, "embedding_length": 1024, "feed_forward_length": 4096,
        "attention.head_count": 16, "attention.head_count_kv": 4, "attention.key_length": 64,
        "attention.value_length": 64,
    }  # fmt: skip
    found = gguf_compute.compute_buffer(_metadata("llama", {**shape, **keys}), Tokens(1, context))
    assert isinstance(found.bytes, int)
    assert found.bytes / 2**20 == pytest.approx(mebibytes, abs=0.03)


def test_the_compute_buffer_of_gemma() -> None:
    found = gguf_compute.compute_buffer(_metadata("gemma3", GEMMA), ONE)
    assert isinstance(found.bytes, int)
    assert found.bytes / 2**20 == pytest.approx(23.28, abs=0.04)


@pytest.mark.parametrize("name", ["bert", "mamba", "nobody", "deepseek32"])
def test_other_compute_buffers_are_unknown(name: str) -> None:
    keys = {**SHAPE, "ssm.conv_kernel": 4, "ssm.inner_size": 8, "ssm.state_size": 8}
    assert isinstance(gguf_compute.compute_buffer(_metadata(name, keys), ONE).bytes, Unknown)


# From a file


def test_a_file_s_own_metadata(tmp_path: Path) -> None:
    """Read by our reader, and by the gguf library for what the numbers are of."""
    library = pytest.importorskip("gguf", reason="asks the gguf library, which is not here")
    keys = {f"gemma3.{key}": gguf.u32(value) for key, value in GEMMA.items()}
    heads = gguf.array(gguf.INT32, [1, 2] * 9)
    data = gguf.build(
        [gguf.f32("token_embd.weight", 32)],
        {"general.architecture": gguf.text("gemma3"), **keys,
         "gemma3.attention.head_count_kv": heads},
    )  # fmt: skip
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with LocalFile(str(path), str(path)) as file:
        metadata = reader.read(file).fact.metadata
    fields = library.GGUFReader(path).fields
    listed = [int(fields["gemma3.attention.head_count_kv"].parts[at][0])
              for at in fields["gemma3.attention.head_count_kv"].data]  # fmt: skip
    width = struct.calcsize("<e") * 2 * int(fields["gemma3.attention.key_length"].contents())
    full = sum(listed[at] for at in range(18) if at % 6 == 5)
    found = gguf_cache.llama(metadata, ONE, "F16")
    assert isinstance(found, KVCache)
    assert _kinds(found)["full"] == (3, full * width * 4096)
    assert _kinds(found)["sliding"] == (15, (sum(listed) - full) * width * 1024)
    assert gguf_cache.context_limit(metadata) == 32768
