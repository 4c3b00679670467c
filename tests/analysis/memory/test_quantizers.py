"""What becomes of packed checkpoints, against transformers' own quantizers in the same run."""

from __future__ import annotations

from typing import Any

import pytest

from modelscope_cli.analysis.memory import quantizers
from modelscope_cli.analysis.memory.quantizers import STORED_SO, Leaves
from modelscope_cli.knowledge.modules import Parameter
from modelscope_cli.schemes import FAMILIES
from modelscope_cli.schemes.base import Logical
from tests.analysis.memory.weights.holding import Class, one


def test_the_methods_are_those_of_transformers() -> None:
    auto = pytest.importorskip("transformers.quantizers.auto", reason="asks transformers")
    assert set(auto.AUTO_QUANTIZATION_CONFIG_MAPPING) == quantizers.METHODS - {"bitsandbytes"}


@pytest.mark.parametrize("method", sorted(quantizers.METHODS))
def test_a_method_that_transformers_knows_is_not_skipped(method: str) -> None:
    assert quantizers.skipped(method) is quantizers.skipped(None) is None


def test_a_method_that_it_does_not_know_is() -> None:
    auto = pytest.importorskip("transformers.quantizers.auto", reason="asks transformers")
    assert not auto.AutoHfQuantizer.supports_quant_method({"quant_method": "magic"})
    assert "'magic'" in str(quantizers.skipped("magic"))


def _quantizer(method: str, **values: Any) -> Any:
    auto = pytest.importorskip("transformers.quantizers.auto", reason="asks transformers")
    config = auto.AUTO_QUANTIZATION_CONFIG_MAPPING[method](**values)
    return auto.AUTO_QUANTIZER_MAPPING[method](config, pre_quantized=True)


@pytest.mark.parametrize("method", ["fp8", "mxfp4"])
def test_what_is_dequantized_where_kernels_are_missing(method: str) -> None:
    """Nothing here has a GPU or the kernels: transformers dequantizes, and so we say."""
    torch = pytest.importorskip("torch", reason="asks torch")
    if torch.cuda.is_available():
        pytest.skip("asks what happens without a GPU")
    asked = _quantizer(method)
    asked.validate_environment()
    assert asked.quantization_config.dequantize is True
    said = quantizers.otherwise(method, "BF16", 4096)
    assert said is not None
    assert "transformers dequantizes to bf16: 4,096 bytes (4.00 KiB) in all" in said


@pytest.mark.parametrize(("method", "library"), [("gptq", "optimum"), ("awq", "gptqmodel")])
def test_what_fails_without_its_library(method: str, library: str) -> None:
    utils = pytest.importorskip("transformers.utils", reason="asks transformers")
    if getattr(utils, f"is_{library}_available")():
        pytest.skip(f"{library} is here")
    with pytest.raises(ImportError, match=library):
        _quantizer(method, bits=4).validate_environment(device_map=None)
    assert library in str(quantizers.otherwise(method, "F16", 0))


def test_nothing_is_said_of_other_methods() -> None:
    assert quantizers.otherwise("quark", "BF16", 1) is quantizers.otherwise(None, "F32", 1) is None


@pytest.mark.parametrize("scheme", sorted({s for family in FAMILIES for s in family.schemes}))
def test_every_scheme_has_a_name(scheme: str) -> None:
    assert "{" not in quantizers.name(Logical(scheme, (2, 2), 4.0))


def test_names() -> None:
    assert quantizers.name(Logical("gptq", (2, 2), 3, 128)) == "GPTQ 3 bit"
    assert quantizers.name(Logical("awq-marlin", (2, 2), 4, 128)) == "AWQ 4 bit"
    assert quantizers.name(Logical("nf4", (2, 2), 4)) == "nf4 (bitsandbytes)"


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ({}, STORED_SO),
        ({"modules_to_not_convert": ["head"]}, "named in modules_to_not_convert"),
        ({"ignore": ["model.*.head"]}, "named in ignore"),
        ({"ignore": ["model.0"]}, "named in ignore"),
        ({"ignore": ["ead", "(((", 3, None, ""]}, STORED_SO),
        ({"ignore": "head"}, STORED_SO),
    ],
    ids=str,
)
def test_why_a_weight_is_left(declared: dict[str, Any], reason: str) -> None:
    rows = [("model.0.head.weight", "BF16", (4, 4))]
    held = one(rows, Class({"model.*.head.weight": Parameter("linear", None)}))
    assert Leaves(declared).reason(held) == reason
