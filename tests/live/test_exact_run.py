"""`--exact`: cache and activations on meta, beside real forwards on the CPU."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from modelscope_cli.facts import Unknown
from modelscope_cli.live.exact_run import ExactRun, exact_run
from tests.live.tiny import MODELS, Tiny, configured

torch = pytest.importorskip("torch", reason="forwards are run with it")
transformers = pytest.importorskip("transformers", reason="its classes are run")

BATCH, CONTEXT, ENCODER = 2, 37, 23
CLASSIFIERS = ("LlamaForSequenceClassification",)


def inputs(tiny: Tiny, dtype: Any) -> dict[str, Any]:
    """What the model takes, with values this time."""
    words = torch.randint(4, 100, (BATCH, CONTEXT), generator=torch.Generator().manual_seed(0))
    if tiny.model_type == "vit":
        return {"pixel_values": torch.ones(BATCH, 3, 32, 32, dtype=dtype)}
    if tiny.model_type in ("clip", "siglip"):
        return {"input_ids": words, "pixel_values": torch.ones(BATCH, 3, 32, 32, dtype=dtype)}
    if tiny.model_type == "whisper":
        sound = torch.ones(BATCH, 16, 80, dtype=dtype)
        return {"input_features": sound, "decoder_input_ids": words}
    if ("ConditionalGeneration" in tiny.id and tiny.model_type != "llava") or "MT" in tiny.id:
        return {"input_ids": words[:, :ENCODER], "decoder_input_ids": words}
    return {"input_ids": words}


def real(tiny: Tiny, dtype: Any) -> Any:
    """The class with random weights on the CPU."""
    config = transformers.CONFIG_MAPPING[tiny.model_type](**tiny.settings)
    config.dtype = dtype
    if tiny.id in CLASSIFIERS:
        config.pad_token_id = 0
    with default_dtype(dtype):
        return getattr(transformers, tiny.architecture)(config).eval()


@contextmanager
def default_dtype(dtype: Any) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def allocated(call: Any) -> tuple[int, Any]:
    """The most bytes that were allocated at once during a call, as torch's profiler saw it."""
    from torch.profiler import ProfilerActivity, profile

    call()
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        output = call()
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most, output


def stored(output: Any) -> tuple[int, int] | None:
    """Bytes of a cache's tensors, and of their storages."""
    cache = getattr(output, "past_key_values", None) or getattr(output, "cache_params", None)
    if cache is None:
        return None
    seen: dict[int, tuple[int, int]] = {}
    for tensor in tensors(cache):
        storage = tensor.untyped_storage()
        seen.setdefault(storage.data_ptr(), (tensor.nbytes, storage.nbytes()))
    return sum(size for size, _ in seen.values()), sum(whole for _, whole in seen.values())


def tensors(value: Any) -> Iterator[Any]:
    if isinstance(value, torch.Tensor):
        if value.dim() > 2:  # not a window's own length
            yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors(item)
    elif type(value).__module__ == "transformers.cache_utils":
        yield from tensors(vars(value))


def on_meta(tiny: Tiny, dtype: str = "F32", **more: Any) -> ExactRun:
    found = exact_run(
        configured(tiny), tiny.architecture, batch=BATCH, context=CONTEXT,
        encoder_context=ENCODER, dtype=dtype, device="cpu", **more,
    )  # fmt: skip
    assert isinstance(found, ExactRun), found
    return found


# On a CPU kernels of attention and state spaces keep a workspace of their own, which no tensor
# shows; it matters only where the peak lies inside them, and grows with threads and in bfloat16.
WORKSPACE = 0.05


@pytest.fixture
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("tiny", MODELS, ids=lambda tiny: tiny.id)
def test_a_forward_on_meta_takes_what_one_on_the_cpu_takes(tiny: Tiny) -> None:
    ours = on_meta(tiny)
    model, given = real(tiny, torch.float32), inputs(tiny, torch.float32)
    asks = {} if ours.cache is None else {"use_cache": True}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peak, output = allocated(lambda: model(**given, **asks))

    held = None if ours.cache is None else (ours.cache.bytes, ours.cache.peak_bytes)
    assert held == stored(output)
    said = ours.activations.all_logits_bytes + (held[1] if held else 0)
    assert said <= peak
    assert peak - said <= WORKSPACE * peak


@pytest.mark.parametrize("tiny", MODELS, ids=lambda tiny: tiny.id)
def test_the_cache_in_16_bit(tiny: Tiny) -> None:
    """Recurrent states stay float32."""
    ours = on_meta(tiny, "BF16")
    model, given = real(tiny, torch.bfloat16), inputs(tiny, torch.bfloat16)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        output = model(**given, **({} if ours.cache is None else {"use_cache": True}))

    held = None if ours.cache is None else (ours.cache.bytes, ours.cache.peak_bytes)
    assert held == stored(output)


def test_llama_3_8b() -> None:
    """Measured before: 810,549,248 bytes in all for 2,048 tokens, 512,770,048 with one logit."""
    config = transformers.LlamaConfig(
        vocab_size=128_256, hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=8192,
        dtype="bfloat16",
    ).to_dict()  # fmt: skip
    found = exact_run(config, "LlamaForCausalLM", context=2048)

    assert isinstance(found, ExactRun)
    assert found.cache is not None
    assert found.cache.bytes == 2048 * 128 * 1024
    assert found.cache.bytes + found.activations.all_logits_bytes == 810_549_248
    assert found.cache.bytes + found.activations.prefill_bytes == 512_770_048
    assert 0 < found.activations.decode_bytes < found.activations.prefill_bytes


def test_kinds_of_layers() -> None:
    kinds = {
        tiny.id: {layer.kind: layer.layers for layer in run.cache.layers}
        for tiny in MODELS
        if tiny.id in ("Gemma2ForCausalLM", "DeepseekV3ForCausalLM", "BartForConditionalGeneration")
        and (run := on_meta(tiny)).cache is not None
    }

    assert kinds == {
        "Gemma2ForCausalLM": {"sliding": 1, "full": 1},
        "DeepseekV3ForCausalLM": {"latent": 2},
        "BartForConditionalGeneration": {"full": 2, "cross": 2},
    }


def test_a_gpu_writes_no_scores_where_widths_differ() -> None:
    """Latent attention: the query is wider than the value."""
    deepseek = next(tiny for tiny in MODELS if tiny.model_type == "deepseek_v3")
    settings = dict(configured(deepseek), dtype="bfloat16")
    runs = [exact_run(settings, None, context=1024, device=device) for device in ("cpu", "cuda")]
    cpu, gpu = (run.activations.prefill_bytes for run in runs if isinstance(run, ExactRun))

    assert cpu > gpu + 4 * 1024 * 1024 * 2


def test_what_does_not_run_says_why() -> None:
    bert = next(tiny for tiny in MODELS if tiny.model_type == "bert")
    too_long = exact_run(configured(bert), "BertModel", context=1000)
    mamba = next(tiny for tiny in MODELS if tiny.model_type == "mamba")
    too_slow = exact_run(configured(mamba), None, context=100_000, seconds=0.5)

    assert isinstance(too_long, Unknown)
    assert "BertModel does not run on the meta device: RuntimeError" in too_long.reason
    assert isinstance(too_slow, Unknown)
    assert "MambaForCausalLM on meta was not done after 0.5 seconds: a shorter" in too_slow.reason
