"""Options' texts as values, and what contradicts itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.analysis.memory import request
from modelscope_cli.analysis.memory.modes import BITS
from modelscope_cli.analysis.memory.request import MAX_TOKENS, Asked
from modelscope_cli.errors import UsageError

PLAIN: dict[str, Any] = {
    "bits": None, "quant": None, "double_quant": False, "dtype": None, "transformers": "5",
    "batch": "1", "context": None, "encoder_context": None, "kv_dtype": None,
}  # fmt: skip


def _asked(**options: Any) -> Asked:
    return request.asked(**{**PLAIN, **options})


def test_without_options() -> None:
    found = _asked()
    assert [mode.bits for mode in found.modes] == list(BITS)
    assert tuple(found[1:]) == (False, 1, None, None, None, 5, None)


@pytest.mark.parametrize("bits", BITS)
def test_one_row(bits: str) -> None:
    found = _asked(bits=bits)
    assert [mode.bits for mode in found.modes] == [bits]
    assert found.only


@pytest.mark.parametrize(
    ("quant", "bits"), [("nf4", "4"), ("FP4", "4"), (" int8 ", "8"), ("gptq", "gptq")]
)
def test_a_scheme_is_a_row(quant: str, bits: str) -> None:
    (mode,) = _asked(quant=quant).modes
    assert (mode.bits, mode.scheme) == (bits, quant.strip().lower())


@pytest.mark.parametrize(
    "options",
    [
        {"quant": "nf5"}, {"quant": ""}, {"quant": "x" * 10_000},
        {"bits": "8", "quant": "nf4"}, {"bits": "16", "quant": "gptq"},
        {"bits": "stored", "quant": "nf4"},
        {"bits": "16", "double_quant": True}, {"bits": "8", "double_quant": True},
        {"quant": "int8", "double_quant": True}, {"quant": "gptq", "double_quant": True},
        {"dtype": "int8"}, {"dtype": "fp8"}, {"dtype": ""}, {"dtype": "bf"},
        {"bits": "32", "dtype": "bf16"}, {"bits": "16", "dtype": "float32"},
        {"kv_dtype": "int4"}, {"kv_dtype": "q4_k"}, {"kv_dtype": ""}, {"kv_dtype": "int64"},
        {"batch": "0"}, {"batch": "-1"}, {"batch": "1.5"}, {"batch": ""}, {"batch": "max"},
        {"batch": "9" * 5_000}, {"batch": "1234567890"}, {"batch": "²"}, {"batch": "٣"},
        {"context": "0"}, {"context": ""}, {"context": "-5"}, {"context": "4g"},
        {"context": "1.5k"}, {"context": "9" * 5_000}, {"context": "k"}, {"context": ","},
        {"context": "٣"},
    ],
    ids=lambda options: "-".join(f"{key}={str(value)[:9]}" for key, value in options.items()),
)  # fmt: skip
def test_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        _asked(**options)
    assert "\n" not in caught.value.message


def test_near_names_of_schemes() -> None:
    with pytest.raises(UsageError) as caught:
        _asked(quant="gptqq")
    assert "gptq" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("typed", "dtype"),
    [("bf16", "BF16"), ("bfloat16", "BF16"), ("torch.float16", "F16"), ("half", "F16"),
     ("fp16", "F16"), ("F32", "F32"), ("float32", "F32"), ("fp32", "F32"), ("float", "F32"),
     ("float64", "F64"), (" BF16 ", "BF16")],
)  # fmt: skip
def test_spellings_of_dtypes(typed: str, dtype: str) -> None:
    assert {mode.dtype for mode in _asked(dtype=typed).modes} == {dtype}


@pytest.mark.parametrize(
    ("typed", "dtype"),
    [("fp8", "F8_E4M3"), ("FP8_E5M2", "F8_E5M2"), ("int8", "I8"), ("bf16", "BF16"),
     ("float16", "F16"), ("f32", "F32"), ("q8_0", "Q8_0"), ("Q4_0", "Q4_0"), ("iq4_nl", "IQ4_NL")],
)  # fmt: skip
def test_spellings_of_cache_dtypes(typed: str, dtype: str) -> None:
    assert _asked(kv_dtype=typed).kv_dtype == dtype


@pytest.mark.parametrize(
    ("typed", "count"),
    [("1", 1), ("4096", 4096), ("32k", 32_768), ("32K", 32_768), ("1M", 1024**2),
     ("4,096", 4096), ("4_096", 4096), (" 8 ", 8), ("1024M", 2**30)],
)  # fmt: skip
def test_tokens(typed: str, count: int) -> None:
    assert request.tokens("--context", typed) == count
    assert _asked(context=typed).context == count


def test_words_for_contexts_and_batches() -> None:
    assert _asked(context="max").context == "max"
    assert _asked(context="fit").context == "fit"
    assert _asked(batch="fit").batch is None


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    try:
        found = request.tokens("--context", text)
    except UsageError:
        return
    assert 0 < found <= MAX_TOKENS


@given(st.integers(1, MAX_TOKENS))
def test_a_number_is_itself(count: int) -> None:
    assert request.tokens("--context", f"{count:,}") == count == request.tokens("-c", str(count))


@pytest.mark.parametrize(
    ("typed", "count"),
    [("0", 0), ("536870912", 536_870_912), ("512MiB", 2**29), ("512mib", 2**29), ("1GB", 10**9),
     ("1.5 GiB", 3 * 2**29), ("1k", 1000), ("1Ki", 1024), ("2TiB", 2**41), ("7B", 7),
     ("9007199254740993", 9_007_199_254_740_993)],
)  # fmt: skip
def test_sizes(typed: str, count: int) -> None:
    assert request.size("--runtime", typed) == count


@pytest.mark.parametrize("typed", ["", "-1", "MiB", "1e9", "1 2", "1PB", "inf", "9" * 400, "٣"])
def test_no_sizes(typed: str) -> None:
    with pytest.raises(UsageError):
        request.size("--runtime", typed)


def test_what_needs_cards() -> None:
    request.contradictions(gpus=None, check=False, fits=[])
    request.contradictions(gpus="1x24GiB", check=True, fits=["--batch", "--context"])
    with pytest.raises(UsageError, match="--check"):
        request.contradictions(gpus=None, check=True, fits=[])
    with pytest.raises(UsageError, match="--context fit"):
        request.contradictions(gpus=None, check=False, fits=["--context"])
