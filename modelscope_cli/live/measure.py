"""`--measure`: the model loaded for real, in this process, and every byte that it then holds.

On a CPU where there is no CUDA card. Weights are read from safetensors alone: nothing is
unpickled, no remote code is run, nothing is fetched.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from modelscope_cli.facts import ModelFacts, Unknown
from modelscope_cli.live import library, memory_here, skeleton
from modelscope_cli.live.exact_weights import BUFFERS, PARTS, QUANTIZATION, WEIGHTS, exact_weights
from modelscope_cli.live.library import Libraries, first_line
from modelscope_cli.live.memory_here import OnDevice
from modelscope_cli.live.quantizers import is_packed_weight, settings_of
from modelscope_cli.units import size_text


class Measured(NamedTuple):
    """What was held after loading, in bytes; each storage once, whatever shares it.

    `resident_bytes`: by how much the process grew (on a CPU, read-only pages of the file may be
    part of it), None where the system does not tell. `missing` parameters were not in the file
    and made up by the library, `unexpected` tensors of the file were not loaded.
    """

    weights: int
    quantization: int
    buffers: int
    resident_bytes: int | None
    devices: tuple[OnDevice, ...]
    dtype: str
    class_name: str
    seconds: float
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    @property
    def load_bytes(self) -> int:
        """All three parts."""
        return self.weights + self.quantization + self.buffers


def measure(
    facts: ModelFacts,
    architecture: str | None = None,
    *,
    scheme: str | None = None,
    dtype: str | None = None,
    double_quant: bool = False,
) -> Measured | Unknown:
    """Load a model of this machine: `scheme` nf4, fp4, int8 or None, `dtype` as in safetensors.

    Unknown with the reason where it cannot or should not be loaded: a pickle, a single file, a
    type that the library has not, more than this machine has memory. Raises MissingExtra.
    """
    libraries = library.load("--measure loads the model with transformers")
    config = facts.config or {}
    refusal = _refusal(facts, config)
    if refusal is not None:
        return Unknown(refusal)
    named = architecture or _architecture(config)
    expected = exact_weights(config, named, scheme=scheme, dtype=dtype, double_quant=double_quant)
    if isinstance(expected, Unknown):
        return expected
    here = memory_here.available(libraries.torch)
    if here is not None and expected.load_bytes > here:
        return Unknown(
            f"it takes {size_text(expected.load_bytes)}, and {size_text(here)} are free here"
        )
    options = settings_of(libraries, scheme, double_quant)
    return _load(libraries, facts, config, named, dtype, options)


def _refusal(facts: ModelFacts, config: Mapping[str, Any]) -> str | None:
    if facts.ref.kind == "builtin":
        return "a built-in model has no weights to load"
    path = facts.ref.path
    if path is None or not os.path.isdir(path):
        return "a model is loaded from its folder: name that, not one file"
    names = os.listdir(path)
    if "adapter_config.json" in names:
        return "a LoRA adapter is loaded on top of its base model"
    if not any(name.endswith(".safetensors") for name in names):
        return "its weights are not in safetensors: unpickling a file would run what is in it"
    return None if config else "there is no config.json"


def _architecture(config: Mapping[str, Any]) -> str | None:
    named = config.get("architectures")
    return named[0] if isinstance(named, list) and named and isinstance(named[0], str) else None


def _load(
    libraries: Libraries,
    facts: ModelFacts,
    config: Mapping[str, Any],
    architecture: str | None,
    dtype: str | None,
    options: Mapping[str, Any],
) -> Measured | Unknown:
    torch = libraries.torch
    with library.nothing_remote(), library.quiet():
        chosen = skeleton.chosen(libraries, config, architecture, keep_quantization=True)
        if isinstance(chosen, Unknown):
            return chosen
        cls, made = chosen
        start, before = time.monotonic(), memory_here.resident()
        try:
            model, info = cls.from_pretrained(
                facts.ref.path,
                config=made,
                dtype=skeleton.torch_dtype(libraries, made, dtype) if dtype else "auto",
                device_map="auto" if torch.cuda.is_available() else None,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
        except Exception as error:
            return Unknown(f"{libraries.name} cannot load it: {first_line(error)}")
        after = memory_here.resident()
        seconds = time.monotonic() - start
    counted = _counted(model, _plain_names(libraries, config, architecture))
    return Measured(
        counted[WEIGHTS],
        counted[QUANTIZATION],
        counted[BUFFERS],
        None if before is None or after is None else after - before,
        memory_here.devices(torch),
        skeleton.spelling(model.dtype),
        cls.__name__,
        seconds,
        tuple(sorted(info["missing_keys"])),
        tuple(sorted(info["unexpected_keys"])),
    )


def _plain_names(
    libraries: Libraries, config: Mapping[str, Any], architecture: str | None
) -> set[str]:
    """Parameters before any quantizer replaced a module; none where nothing was replaced."""
    if "quantization_config" not in config:
        return set()
    plain = skeleton.build(libraries, config, architecture)
    if isinstance(plain, Unknown):
        return set()
    return {name for name, _ in plain.model.named_parameters()}


def _counted(model: Any, plain_names: set[str]) -> dict[str, int]:
    """Bytes of every storage by part, each once."""
    counted = dict.fromkeys(PARTS, 0)
    seen: set[int] = set()
    for part, tensor in _tensors(model, plain_names):
        storage = tensor.untyped_storage()
        if storage._cdata not in seen:
            seen.add(storage._cdata)
            counted[part] += storage.nbytes()
    return counted


def _tensors(model: Any, plain_names: set[str]) -> Iterator[tuple[str, Any]]:
    for name, parameter in model.named_parameters():
        is_state = name not in plain_names and not is_packed_weight(name)
        yield QUANTIZATION if is_state and plain_names else WEIGHTS, parameter
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            yield from ((QUANTIZATION, tensor) for tensor in _state(state))
    for module in model.modules():
        if type(module).__name__ == "Linear8bitLt":
            scales = (module.state.SCB, getattr(module.weight, "SCB", None))
            found = next((scale for scale in scales if scale is not None), None)
            if found is not None:
                yield QUANTIZATION, found
    for name, buffer in model.named_buffers():
        yield (WEIGHTS if is_packed_weight(name) else BUFFERS), buffer


def _state(state: Any) -> Iterator[Any]:
    """Bitsandbytes' QuantState: absmax and the map, doubly quantized or not."""
    nested = (state.offset, state.state2.absmax, state.state2.code) if state.nested else ()
    yield from (state.absmax, state.code, *nested)
