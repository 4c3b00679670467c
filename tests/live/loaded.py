"""What a really loaded model holds, counted without our code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def parts(model: Any) -> dict[str, int]:
    """Bytes of every storage by part, each once: weights, quantization, buffers."""
    counted = {"weights": 0, "quantization": 0, "buffers": 0}
    seen: set[int] = set()
    for part, tensor in _tensors(model):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen or not storage.nbytes():
            seen.add(storage.data_ptr())
            counted[part] += storage.nbytes()
    return counted


def _tensors(model: Any) -> Iterator[tuple[str, Any]]:
    for parameter in model.parameters():
        yield "weights", parameter
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            yield from (("quantization", tensor) for tensor in _state(state))
    for module in model.modules():
        if type(module).__name__ == "Linear8bitLt":
            scales = module.state.SCB
            scales = getattr(module.weight, "SCB", None) if scales is None else scales
            if scales is not None:  # a weight that was made anew is not packed
                yield "quantization", scales
    yield from (("buffers", buffer) for buffer in model.buffers())


def _state(state: Any) -> Iterator[Any]:
    yield from (state.absmax, state.code)
    if state.nested:
        yield from (state.offset, state.state2.absmax, state.state2.code)


def as_mapping(exact: Any) -> Mapping[str, int]:
    """The same parts of an answer of ours."""
    return {part: getattr(exact, part) for part in ("weights", "quantization", "buffers")}
