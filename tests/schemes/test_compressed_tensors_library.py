"""compressed-tensors asked itself: its compressors run, and what they leave is compared."""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest

from modelscope_cli.errors import UsageError
from modelscope_cli.schemes import compressed_tensors as ours
from modelscope_cli.schemes.base import Logical, Member, Options
from tests.schemes.stored import TORCH, described

torch: Any = pytest.importorskip("torch", reason="compressed-tensors runs on torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip(
        "compressed_tensors", reason="brings torch and transformers, so no test extra has it"
    )
    compressors: Any = pytest.importorskip("compressed_tensors.compressors.base")
    initialize: Any = pytest.importorskip("compressed_tensors.quantization.lifecycle.initialize")
    quantization: Any = pytest.importorskip("compressed_tensors.quantization")

pytestmark = pytest.mark.filterwarnings("ignore")
Saved = dict[str, Member]


def compress(out: int, in_: int, dtype: str = "bfloat16", **weights: Any) -> tuple[str, Saved]:
    """What the library's own compressor leaves of a random Linear, and the format it chose."""
    activations = weights.pop("activations", None)
    scheme = quantization.QuantizationScheme(
        targets=["Linear"], weights=quantization.QuantizationArgs(**weights),
        input_activations=activations and quantization.QuantizationArgs(**activations),
    )  # fmt: skip
    linear = torch.nn.Linear(in_, out, bias=False, dtype=getattr(torch, dtype))
    initialize.initialize_module_for_quantization(linear, scheme)
    for name, parameter in linear.named_parameters():
        if name.endswith("scale"):
            parameter.data.fill_(0.05)
    compressors.compress_module(linear)
    return scheme.format.value, {f".{n}": member(t) for n, t in linear.state_dict().items()}


def member(tensor: Any) -> Member:
    dtype = TORCH[str(tensor.dtype).removeprefix("torch.")]
    value = tensor.numpy().tobytes() if dtype == "I64" else None
    return Member(dtype, tuple(tensor.shape), value)


def of_the_weight(saved: Saved) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Without what belongs to activations."""
    names = (name for name in saved if not name.startswith(".input"))
    return {name[1:]: saved[name][:2] for name in names}


def agree(scheme: str, options: Options, saved: Saved, shape: tuple[int, int]) -> None:
    assert described(ours.pack(scheme, shape, options)) == of_the_weight(saved), (shape, options)
    for declared in ({}, {"config_groups": {"g": {"weights": {"num_bits": options.bits}}}}):
        seen = ours.see_through(saved, declared)
        assert isinstance(seen, Logical), seen
        assert (seen.scheme, seen.shape) == (scheme, shape)


def test_pack_quantized_is_what_the_library_writes() -> None:
    rng = random.Random(11)
    for _ in range(120):
        group = rng.choice((-1, 16, 32, 128))
        out = rng.randint(1, 200)
        in_ = rng.randint(1, 200) if group == -1 else group * rng.randint(1, 6)
        bits, symmetric = rng.randint(1, 8), rng.random() < 0.5
        strategy = {"strategy": "channel"} if group == -1 else {"group_size": group}
        dtype = rng.choice(("bfloat16", "float16", "float32"))
        name, saved = compress(out, in_, dtype, num_bits=bits, symmetric=symmetric, **strategy)
        assert name == "pack-quantized"
        options = Options(bits=bits, group=group, symmetric=symmetric, dtype=TORCH[dtype])
        agree(name, options, saved, (out, in_))


@pytest.mark.parametrize(
    ("group", "name"), [(16, "nvfp4-pack-quantized"), (32, "mxfp4-pack-quantized")]
)
def test_fp4_is_what_the_library_writes(group: int, name: str) -> None:
    rng = random.Random(group)
    kind: dict[str, Any] = {"num_bits": 4, "type": "float", "group_size": group}
    if group == 16:
        kind |= {"strategy": "tensor_group", "scale_dtype": torch.float8_e4m3fn}
    else:
        kind |= {"strategy": "group", "scale_dtype": torch.uint8}
    for _ in range(50):
        shape = rng.randint(1, 200), group * rng.randint(1, 9)
        chosen, saved = compress(*shape, **kind)
        assert chosen == name
        agree(name, Options(), saved, shape)


def test_int_quantized_is_what_the_library_writes() -> None:
    rng = random.Random(13)
    tokens = {"num_bits": 8, "strategy": "token", "dynamic": True}
    for _ in range(60):
        group = rng.choice((-1, 16, 32))
        shape = rng.randint(2, 200), rng.randint(2, 200) if group == -1 else group * 3
        symmetric = rng.random() < 0.5
        strategy = {"strategy": "channel"} if group == -1 else {"group_size": group}
        name, saved = compress(
            *shape, num_bits=8, symmetric=symmetric, activations=tokens, **strategy
        )
        assert name == "int-quantized"
        agree(name, Options(group=group, symmetric=symmetric), saved, shape)


def test_float_quantized_is_what_the_library_writes() -> None:
    rng = random.Random(17)
    activations = {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True}
    kind: dict[str, Any] = {"num_bits": 8, "type": "float", "activations": activations}
    for _ in range(60):
        shape = rng.randint(2, 300), rng.randint(2, 300)
        block = rng.choice((None, 16, 128))
        strategy: dict[str, Any] = {"strategy": "channel"}
        if block is not None:
            strategy = {"strategy": "block", "block_structure": [block, block]}
        weights: dict[str, Any] = {**kind, **strategy}
        name, saved = compress(*shape, **weights)
        assert name == "float-quantized"
        assert described(ours.pack(name, shape, Options(block=block))) == of_the_weight(saved)
        declared = {"config_groups": {"g": {"weights": strategy}}}
        seen = ours.see_through(saved, declared)
        assert isinstance(seen, Logical)
        assert seen.shape == shape


@pytest.mark.parametrize("preset", ["W4A16", "W4A16_ASYM", "W8A16", "W3A16", "W8A8", "FP8",
    "FP8_DYNAMIC", "FP8_BLOCK", "MXFP8", "NVFP4A16", "NVFP4", "MXFP4A16", "MXFP6A16"])  # fmt: skip
def test_every_preset_is_seen_through(preset: str) -> None:
    scheme = quantization.preset_name_to_scheme(preset, ["Linear"])
    weights = scheme.weights.model_dump(exclude_none=True, exclude={"zp_dtype", "observer"})
    if scheme.weights.scale_dtype is not None:
        weights["scale_dtype"] = scheme.weights.scale_dtype
    inputs = scheme.input_activations
    activations = inputs and {k: v for k, v in inputs.model_dump().items() if v is not None}
    if activations:
        activations = {k: activations[k] for k in activations if k not in ("zp_dtype", "observer")}
        if inputs.scale_dtype is not None:
            activations["scale_dtype"] = inputs.scale_dtype
    name, saved = compress(96, 512, activations=activations, **weights)
    seen = ours.see_through(saved, {})
    assert isinstance(seen, Logical)
    assert (seen.scheme, seen.shape) == (name, (96, 512))
    assert seen.bits == scheme.weights.num_bits
    if scheme.weights.group_size and scheme.weights.group_size > 0:
        assert seen.group == scheme.weights.group_size


def test_rows_that_are_no_whole_groups_are_refused_by_both() -> None:
    fp4 = {"type": "float", "num_bits": 4, "strategy": "group", "scale_dtype": torch.uint8}
    for scheme, options, weights in (
        ("pack-quantized", Options(group=32), {"num_bits": 4, "group_size": 32}),
        ("mxfp4-pack-quantized", Options(), {**fp4, "group_size": 32}),
    ):
        with pytest.raises((ValueError, RuntimeError)):
            compress(8, 100, **weights)
        with pytest.raises(UsageError):
            ours.pack(scheme, (8, 100), options)
