"""FP8 against transformers' layers, and against lies."""

from __future__ import annotations

import random
import warnings
from math import prod
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscope_cli.errors import UsageError
from modelscope_cli.facts import Unknown
from modelscope_cli.schemes import fp8
from modelscope_cli.schemes.base import Logical, Member, Options
from tests.schemes.stored import TORCH, described, members
from tests.schemes.test_gptq import HOSTILE, stored


@pytest.fixture(scope="module")
def library() -> Any:
    """The modules of transformers that keep FP8 layers."""
    pytest.importorskip("torch", reason="the layers are torch's")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("accelerate", reason="transformers wants it for FP8")
        fine = pytest.importorskip(
            "transformers.integrations.finegrained_fp8", reason="transformers is in no test extra"
        )
        fbgemm = pytest.importorskip("transformers.integrations.fbgemm_fp8")
    return SimpleNamespace(fine=fine, fbgemm=fbgemm)


def saved(layer: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {
        name: (TORCH[str(tensor.dtype).removeprefix("torch.")], tuple(tensor.shape))
        for name, tensor in layer.state_dict().items()
    }


def test_blocks_are_those_of_transformers(library: Any) -> None:
    rng = random.Random(3)
    for _ in range(120):
        out, in_, block = rng.randint(1, 700), rng.randint(1, 700), rng.choice((16, 64, 128))
        fmt = rng.choice(("float", "ue8m0"))
        layer = library.fine.FP8Linear(in_, out, block_size=(block, block), scale_fmt=fmt)
        dtype = "F8_E8M0" if fmt == "ue8m0" else "F32"
        packing = fp8.pack("fp8-block", (out, in_), Options(block=block, dtype=dtype))
        assert described(packing) == saved(layer)
        seen = fp8.see_through(stored(**saved(layer)), {"weight_block_size": [block, block]})
        assert isinstance(seen, Logical)
        assert seen.shape == (out, in_)
        if min(out, in_) > block:
            assert (seen.scheme, seen.group) == ("fp8-block", block)


def test_rows_and_tensors_are_those_of_transformers(library: Any) -> None:
    rng = random.Random(4)
    for _ in range(30):
        out, in_ = rng.randint(2, 300), rng.randint(2, 300)
        rows = saved(library.fbgemm.FbgemmFp8Linear(in_, out, bias=False))
        assert described(fp8.pack("fp8-channel", (out, in_), Options())) == rows
        assert fp8.see_through(stored(**rows), {}) == Logical("fp8-channel", (out, in_), 8, None)
        tensor = saved(library.fine.FP8Linear(in_, out, activation_scheme="static"))
        assert tensor.pop("activation_scale") == ("F32", ())
        weight, scale = described(fp8.pack("fp8", (out, in_), Options())).values()
        assert tensor == {"weight": weight, "weight_scale_inv": scale}
        assert fp8.see_through(stored(**tensor), {}) == Logical("fp8", (out, in_), 8, None)


@pytest.mark.parametrize("block", [None, (128, 128), (32, 32)])
@pytest.mark.parametrize("kind", ["fp8", "fp4"])
def test_fused_experts_are_those_of_transformers(library: Any, block: Any, kind: str) -> None:
    rng = random.Random(6)
    for _ in range(12):
        experts, hidden, wide = rng.randint(1, 5), 32 * rng.randint(1, 20), 32 * rng.randint(1, 20)
        config = SimpleNamespace(
            hidden_size=hidden, num_local_experts=experts, moe_intermediate_size=wide,
            hidden_act="silu",
        )  # fmt: skip
        layer = library.fine.FP8Experts(
            config, block_size=block, expert_dtype=kind, scale_fmt="ue8m0"
        )
        tensors = saved(layer)
        truth = {
            "gate_up_proj": (experts, 2 * wide, hidden),
            "down_proj": (experts, hidden, wide),
        }
        for name, shape in truth.items():
            fused = {
                "": Member(*tensors[name]),
                "_scale_inv": Member(*tensors[f"{name}_scale_inv"]),
            }
            seen = fp8.see_through(fused, {"weight_block_size": list(block) if block else None})
            assert isinstance(seen, Logical), seen
            assert seen.shape == shape
            assert seen.bits == (8 if kind == "fp8" else 4)
            if kind == "fp8" and block and min(shape[1:]) > block[0]:
                assert (seen.scheme, seen.group) == ("fp8-block", block[0])


def test_llama_4s_experts_are_those_of_transformers(library: Any) -> None:
    config = SimpleNamespace(
        num_local_experts=4, intermediate_size=96, hidden_size=64, hidden_act="silu"
    )
    tensors = saved(library.fbgemm.FbgemmFp8Llama4TextExperts(config))
    for name, shape in (("gate_up_proj", (4, 64, 192)), ("down_proj", (4, 96, 64))):
        fused = {"": Member(*tensors[name]), "_scale": Member(*tensors[f"{name}_scale"])}
        assert fp8.see_through(fused, {}) == Logical("fp8-channel", shape, 8, None)


def test_what_transformers_quantizes_is_packed_alike(library: Any) -> None:
    torch = pytest.importorskip("torch")
    settings = SimpleNamespace(weight_block_size=[64, 64], scale_fmt="float")
    quantize = library.fine.Fp8Quantize(SimpleNamespace(quantization_config=settings))
    for shape in ((128, 192), (3, 128, 64), (64, 64)):
        made = quantize.convert({"a.weight": torch.randn(shape)})
        found = {
            name.removeprefix("a."): (TORCH[str(t.dtype).removeprefix("torch.")], tuple(t.shape))
            for name, t in made.items()
        }
        assert described(fp8.pack("fp8-block", shape, Options(block=64))) == found


shapes = st.lists(st.integers(0, 600), min_size=2, max_size=4).map(tuple)


@given(
    shape=shapes,
    scheme=st.sampled_from([*fp8.OPTIONS]),
    block=st.sampled_from([1, 32, 100, 128]),
    storage=st.sampled_from(["F8_E4M3", "F8_E5M2"]),
    dtype=st.sampled_from(fp8.SCALES),
)
def test_seeing_through_undoes_packing(
    shape: tuple[int, ...], scheme: str, block: int, storage: str, dtype: str
) -> None:
    options = Options(block=block, storage=storage, dtype=dtype)
    packing = fp8.pack(scheme, shape, options)
    seen = fp8.see_through(members(packing), {"weight_block_size": [block, block]})
    assert isinstance(seen, Logical)
    assert seen.shape == shape == packing.packed.shape
    held = fp8.holds(packing.packed.shape, storage)
    assert [(one.weights, one.shape) for one in held] == [(prod(shape), shape)]
    assert packing.steps[-1].startswith(f"total {packing.total_bytes:,} bytes")


def test_nothing_else_is_held() -> None:
    assert not list(fp8.holds((7,), None))
    assert not list(fp8.holds((16, 32), "U8"))
    assert [one.weights for one in fp8.holds((16, 32), None)] == [512]


def test_a_deepseek_v3_is_seen_through_whatever_its_config_says() -> None:
    tensors = stored(weight=("F8_E4M3", (1536, 7168)), weight_scale_inv=("F32", (12, 56)))
    for declared in ({}, {"weight_block_size": [128, 128]}, {"weight_block_size": [64, 64]}):
        seen = fp8.see_through(tensors, declared)
        assert seen == Logical("fp8-block", (1536, 7168), 8, 128)


@pytest.mark.parametrize(
    "declared",
    [*HOSTILE, {"weight_block_size": [0, 128]}, {"weight_block_size": [True, True]},
     {"weight_block_size": [128]}, {"weight_block_size": {"a": 1}},
     {"weight_block_size": [10**4000, 1]}],
)  # fmt: skip
def test_a_config_may_hold_anything(declared: dict[str, Any]) -> None:
    tensors = stored(weight=("F8_E4M3", (300, 500)), weight_scale_inv=("F32", (3, 4)))
    assert fp8.see_through(tensors, declared) == Logical("fp8-block", (300, 500), 8, 128)


@pytest.mark.parametrize("name", [".scale", ".qscale_weight", ".weight_scale_inv", "_scale_inv"])
def test_scales_have_many_names(name: str) -> None:
    tensors = {"" if name[0] == "_" else ".weight": Member("F8_E4M3", (256, 256)),
               name: Member("F8_E8M0", (2, 2))}  # fmt: skip
    assert fp8.see_through(tensors, {}) == Logical("fp8-block", (256, 256), 8, 128)


@pytest.mark.parametrize("scale", [(), (1,), (1, 1), (1, 1, 1), (3,), (3, 1), (3, 1, 1)])
def test_one_scale_for_a_tensor_or_an_expert(scale: tuple[int, ...]) -> None:
    tensors = stored(weight=("F8_E4M3", (3, 600, 500)), weight_scale=("F32", scale))
    assert fp8.see_through(tensors, {}) == Logical("fp8", (3, 600, 500), 8, None)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({}, "here are nothing"),
        ({"weight": ("F8_E4M3", (4, 4))}, "here are .weight"),
        ({"weight_scale": ("F32", ())}, "here are .weight_scale"),
        ({"weight": ("F16", (4, 4)), "weight_scale": ("F32", ())}, "weight F16 [4, 4]"),
        ({"weight": ("F8_E4M3", (4,)), "weight_scale": ("F32", ())}, "no matrix"),
        ({"weight": ("F8_E4M3", ()), "weight_scale": ("F32", ())}, "no matrix"),
        ({"weight": ("F8_E4M3", (4, 4)), "weight_scale": ("I32", ())}, "no scales"),
        ({"weight": ("F8_E4M3", (4, 4)), "weight_scale": ("F32", (5,))}, "do not fit"),
        ({"weight": ("F8_E4M3", (4, 4)), "weight_scale": ("F32", (4, 1, 1))}, "do not fit"),
        ({"weight": ("F8_E4M3", (4, 4)), "weight_scale": ("F32", (0, 0))}, "0 scales"),
        ({"weight": ("F8_E4M3", (500, 500)), "weight_scale_inv": ("F32", (3, 4))}, "no group"),
        ({"weight": ("F8_E4M3", (2, 500, 500)), "weight_scale_inv": ("F32", (3, 4, 4))}, "not fit"),
        ({"weight": ("I8", (500, 500)), "weight_scale": ("F8_E8M0", (500, 16))}, "MXFP4"),
    ],
)
def test_what_does_not_fit_is_unknown_and_says_why(tensors: dict[str, Any], reason: str) -> None:
    seen = fp8.see_through(stored(**tensors), {})
    assert isinstance(seen, Unknown)
    assert reason in seen.reason


@pytest.mark.parametrize(
    ("shape", "options", "reason"),
    [
        ((4,), Options(), "matrices"),
        ((), Options(), "matrices"),
        ((64, 64), Options(block=0), "a block of 0"),
        ((64, 64), Options(block=-128), "a block of -128"),
        ((64, 64), Options(storage="I8"), "keeps weights"),
        ((64, 64), Options(dtype="I8"), "keeps scales"),
    ],
)
def test_what_fp8_cannot_have_is_refused(
    shape: tuple[int, ...], options: Options, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        fp8.pack("fp8-block", shape, options)


def test_the_arithmetic_is_written_out() -> None:
    assert fp8.pack("fp8-block", (4100, 14336), Options()).steps == (
        "4,100 x 14,336 = 58,777,600 weights",
        "a byte each, in the weight's own shape: "
        "weight float8_e4m3fn [4100, 14336] -> 58,777,600 bytes",
        "one scale for each block of 128 x 128: 4,100 / 128 -> 33 down, 14,336 / 128 = 112 across",
        "weight_scale_inv float32 [33, 112] -> 14,784 bytes",
        "total 58,792,384 bytes, 8.0020 bits a weight, overhead 0.0 %",
    )
