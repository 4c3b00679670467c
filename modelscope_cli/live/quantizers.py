"""transformers' own quantizers, applied to a skeleton as `from_pretrained` applies them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from modelscope_cli.errors import MissingExtra
from modelscope_cli.facts import Shape, Unknown
from modelscope_cli.live.library import Libraries, first_line, nothing_remote, quiet
from modelscope_cli.live.skeleton import spelling
from modelscope_cli.schemes import bnb
from modelscope_cli.schemes.base import Options


class Packed(NamedTuple):
    """A tensor that a quantized weight becomes; `state`: scales and the like, not the weight."""

    name: str
    dtype: str
    shape: Shape
    bytes: int
    state: bool


class Quantizer:
    """What a configuration declares, with modules that say all their tensors: fp8 and others.

    `keeps_file_dtype`: parameters named `weight` are loaded in the file's dtype.
    """

    keeps_file_dtype = False

    def __init__(self, hf: Any) -> None:
        self.hf = hf
        self.before: dict[str, Shape] = {}  # parameters and buffers of the plain skeleton

    def prepare(self, model: Any, dtype: Any) -> None:
        """Replace modules of the skeleton, in the context that it was built in."""
        tensors = (*model.named_parameters(), *model.named_buffers())
        self.before = {name: tuple(tensor.shape) for name, tensor in tensors}
        self.replace(model, dtype)

    def replace(self, model: Any, dtype: Any) -> None:
        """What transformers does with it."""
        self.hf.preprocess_model(model=model, dtype=dtype, device_map=None, checkpoint_files=None)

    def packed(self, name: str, module: Any, tensor: Any) -> list[Packed] | None:
        """What a parameter or buffer is, if it is a quantized weight or its state; else None."""
        if name in self.before:
            if spelling(tensor.dtype) not in _PACKED_DTYPES:
                return None
            return [self._as_is(name, tensor, state=False), *self.beside(name, tensor)]
        return [self._as_is(name, tensor, state=not is_packed_weight(name))]

    def _as_is(self, name: str, tensor: Any, *, state: bool) -> Packed:
        size = tensor.numel() * tensor.element_size()
        return Packed(name, spelling(tensor.dtype), tuple(tensor.shape), size, state)

    def beside(self, name: str, tensor: Any) -> Iterator[Packed]:
        """Tensors that a module gets as its weight is loaded, and does not declare."""
        return iter(())

    def weights(self, name: str, module: Any) -> int:
        """How many weights a packed one was."""
        for suffix in ("", *_PACKED):
            plain = name if not suffix else name.removesuffix(suffix) + ".weight"
            if plain in self.before:
                return prod(self.before[plain])
        return 0


_PACKED_DTYPES = ("U8", "I8", "I32", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F4")
_PACKED = (".weight_packed", ".qweight")


def is_packed_weight(name: str) -> bool:
    """Whether a tensor that the plain model has not is the packed weight, no scale."""
    return name.endswith(_PACKED)


class BitsAndBytes(Quantizer):
    """nf4, fp4 and int8: which modules is read off the skeleton, the bytes are `schemes.bnb`'s."""

    def __init__(self, hf: Any, scheme: str, options: Options) -> None:
        super().__init__(hf)
        self.scheme, self.options = scheme, options
        self.keeps_file_dtype = bool(hf.pre_quantized)

    def packed(self, name: str, module: Any, tensor: Any) -> list[Packed] | None:
        """The weight, then absmax and maps, or SCB."""
        if name.rpartition(".")[2] != "weight" or not _is_bnb(module):
            return None
        base = name.removesuffix("weight")
        parts = bnb.pack(self.scheme, _linear_shape(module), self.options).parts
        return [
            Packed(base + part.name, part.dtype, part.shape, part.bytes, row > 0)
            for row, part in enumerate(parts)
        ]

    def weights(self, name: str, module: Any) -> int:
        """Of the Linear that was."""
        return prod(_linear_shape(module))


def _is_bnb(module: Any) -> bool:
    return type(module).__name__ in ("Linear4bit", "Linear8bitLt")


def _linear_shape(module: Any) -> Shape:
    return (int(module.out_features), int(module.in_features))


class CompressedTensors(Quantizer):
    """Left packed, as `from_pretrained` leaves it without `dequantize`."""

    def replace(self, model: Any, dtype: Any) -> None:
        """It looks first whether there are FP8 kernels."""
        self.hf.validate_environment()
        super().replace(model, dtype)


class Mxfp4(Quantizer):
    """gpt-oss's experts: two weights in a byte, and a scale byte for 32 of them."""

    def replace(self, model: Any, dtype: Any) -> None:
        """As on a CUDA card. On a CPU it takes asking for kernels, which would be fetched."""
        from transformers.integrations import hub_kernels

        right = hub_kernels.get_kernel
        hub_kernels.get_kernel = lambda *_names, **_options: None
        try:
            self.hf.preprocess_model(model=model, dtype=dtype, device_map=None, use_kernels=True)
        finally:
            hub_kernels.get_kernel = right

    def beside(self, name: str, tensor: Any) -> Iterator[Packed]:
        """Scales: attributes that are no parameters, set when the blocks are loaded."""
        shape = (*tensor.shape[:-1], tensor.shape[-1] // 16)
        yield Packed(f"{name}_scales", "U8", shape, prod(shape), state=True)


def chosen(
    libraries: Libraries,
    config: Mapping[str, Any],
    scheme: str | None,
    double_quant: bool,
    skip: Sequence[str] | None,
) -> Quantizer | Unknown | None:
    """The quantizer for bitsandbytes' `scheme`, or for what the configuration declares."""
    declared = _declared(config)
    if scheme is not None:
        if declared is not None:
            method = declared.get("quant_method")
            return Unknown(
                f"the checkpoint is quantized already ({method}): it is loaded so, and "
                f"bitsandbytes is not asked; quantize the original instead"
            )
        return _bitsandbytes(libraries, scheme, double_quant, skip)
    return None if declared is None else _as_declared(libraries, declared)


def _declared(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for level in (config, config.get("text_config")):
        declared = level.get("quantization_config") if isinstance(level, Mapping) else None
        if isinstance(declared, Mapping):
            return declared
    return None


def _bitsandbytes(
    libraries: Libraries, scheme: str, double_quant: bool, skip: Sequence[str] | None
) -> Quantizer | Unknown:
    if scheme not in bnb.OPTIONS:
        return Unknown(f"transformers quantizes no plain checkpoint to {scheme} as it loads it")
    return _made(libraries, _wanted(scheme, double_quant, skip), pre_quantized=False)


def _wanted(scheme: str, double_quant: bool, skip: Sequence[str] | None) -> dict[str, Any]:
    """What `BitsAndBytesConfig` is given."""
    common: dict[str, Any] = {"llm_int8_skip_modules": None if skip is None else list(skip)}
    if scheme == "int8":
        return {"load_in_8bit": True, **common}
    return {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": scheme,
        "bnb_4bit_use_double_quant": double_quant,
        **common,
    }


def settings_of(libraries: Libraries, scheme: str | None, double_quant: bool) -> dict[str, Any]:
    """The options of `from_pretrained` that quantize with bitsandbytes; none without a scheme."""
    if scheme is None:
        return {}
    wanted = _wanted(scheme, double_quant, None)
    return {"quantization_config": libraries.transformers.BitsAndBytesConfig(**wanted)}


def _as_declared(libraries: Libraries, declared: Mapping[str, Any]) -> Quantizer | Unknown | None:
    return _made(libraries, dict(declared), pre_quantized=True)


def _made(
    libraries: Libraries, wanted: dict[str, Any], *, pre_quantized: bool
) -> Quantizer | Unknown:
    """The quantizer of transformers for a configuration's dictionary."""
    from transformers.quantizers.auto import AutoHfQuantizer, AutoQuantizationConfig

    if wanted.get("load_in_4bit") or wanted.get("load_in_8bit"):
        _require_bitsandbytes()
        wanted = {**wanted, "quant_method": "bitsandbytes"}
    try:
        with nothing_remote(), quiet():
            config = AutoQuantizationConfig.from_dict(wanted)
            hf = AutoHfQuantizer.from_config(config, pre_quantized=pre_quantized)
    except ImportError as error:
        return Unknown(f"transformers needs another package for it: {first_line(error)}")
    except Exception as error:
        return Unknown(f"{libraries.name} refuses its quantization_config: {first_line(error)}")
    return _wrapped(hf, config)


def _wrapped(hf: Any, config: Any) -> Quantizer | Unknown:
    name = type(hf).__name__
    if name == "Bnb8BitHfQuantizer":
        return BitsAndBytes(hf, "int8", Options())
    if name == "Bnb4BitHfQuantizer":
        storage = spelling(config.bnb_4bit_quant_storage)
        double = bool(config.bnb_4bit_use_double_quant)
        return BitsAndBytes(
            hf, config.bnb_4bit_quant_type, Options(double_quant=double, storage=storage)
        )
    return _BY_NAME.get(name, Quantizer)(hf)


_BY_NAME: Mapping[str, type[Quantizer]] = {
    "Mxfp4HfQuantizer": Mxfp4,
    "CompressedTensorsHfQuantizer": CompressedTensors,
}


def _require_bitsandbytes() -> None:
    try:
        with nothing_remote(), quiet():
            import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            "transformers quantizes with bitsandbytes, which is not installed", "bnb"
        ) from error
