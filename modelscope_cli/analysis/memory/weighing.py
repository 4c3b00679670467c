"""What loading a model one way holds, and how certain that is."""

from __future__ import annotations

from modelscope_cli.analysis import adapters
from modelscope_cli.analysis.memory import modes
from modelscope_cli.analysis.memory.model import Model
from modelscope_cli.analysis.memory.modes import Mode
from modelscope_cli.analysis.memory.weights import amounts, what_if
from modelscope_cli.analysis.memory.weights.amounts import Amounts
from modelscope_cli.analysis.memory.weights.held import Held
from modelscope_cli.analysis.memory.weights.prepared import Prepared
from modelscope_cli.facts import Unknown

_DEQUANTIZED = "its packed weights taken as unpacked to this dtype"


def weigh(model: Model, mode: Mode) -> Amounts | Unknown:
    """The weights of all components, buffers that are not in the file included."""
    if model.untold is not None:
        return model.untold
    total = Amounts()
    for component in model.components:
        found = _weigh(component, model, mode)
        if isinstance(found, Unknown):
            return found
        total = total.plus(found).plus(_unheld(component, mode))
    return total


def _unheld(component: Prepared, mode: Mode) -> Amounts:
    """Buffers that are not in the file, and what is packed so that nobody here sees through it.

    Of that no row holds less than the file does: a weight is never unpacked into fewer bits.
    """
    hidden = sum(each.bytes for each in component.hidden)
    missing = tuple(component.missing())
    if isinstance(component.made, Unknown):
        return Amounts(hidden, missing=missing)
    dtype = mode.float_dtype(component.dtype)
    weights = sum(each.bytes(dtype) for each in component.made if each.is_weight)
    buffers = sum(each.bytes(dtype) for each in component.made if not each.is_weight)
    return Amounts(hidden + weights, 0, buffers, missing=missing)


def _weigh(component: Prepared, model: Model, mode: Mode) -> Amounts | Unknown:
    plan = component.plan(mode.float_dtype(component.dtype))
    if mode.scheme is not None and (adapter := adapters.kind_of(component.config)):
        return Unknown(f"a {adapter} adapter stays in floats: what is packed is its model")
    if mode.scheme is not None and component.hidden:
        return Unknown(f"the checkpoint is packed by {model.packed_by}: quantize the original")
    if mode.scheme is not None and mode.scheme not in amounts.BITSANDBYTES:
        return what_if.ideal(component, plan, mode.scheme)
    if model.packed_by is not None:
        return _of_packed(component, model, mode, plan)
    if mode.scheme is None:
        return amounts.plain(component.weighed, plan)
    judged = component.judged if mode.transformers >= 5 else what_if.before_fusing(component)
    return amounts.quantized(judged, plan, mode.scheme, double_quant=mode.double_quant)


def _of_packed(
    component: Prepared, model: Model, mode: Mode, plan: amounts.DtypePlan
) -> Amounts | Unknown:
    """Of a checkpoint that is quantized already."""
    from modelscope_cli.analysis.memory import quantizers  # few checkpoints are packed

    packed_by = model.packed_by or ""
    if mode.scheme is None and mode.bits != modes.STORED:
        return amounts.plain(component.weighed, plan)
    if mode.scheme is not None and modes.bits_of(packed_by) != mode.bits:
        return Unknown(f"the checkpoint is packed by {packed_by}: quantize the original")
    by_bitsandbytes = packed_by in amounts.BITSANDBYTES
    leaves = quantizers.Leaves(model.declared)
    defaults = {id(part.held): part.reason for part in component.judged if by_bitsandbytes}

    def why_left(held: Held) -> str:
        reason = leaves.reason(held)
        default = defaults.get(id(held))
        return default if reason == quantizers.STORED_SO and default else reason

    return amounts.as_stored(
        component.weighed, plan, keeps_weight_dtype=by_bitsandbytes, why_left=why_left
    )


def why_estimate(model: Model, mode: Mode) -> str | None:
    """Why what is loaded is no certainty; None where it is exact."""
    missing = (why for component in model.components for _, why in component.missing())
    return "; ".join(dict.fromkeys((*doubts(model, mode), *missing))) or None


def doubts(model: Model, mode: Mode) -> tuple[str, ...]:
    """Why what is known of what is loaded is no certainty, one by one."""
    if mode.scheme is not None and mode.scheme not in amounts.BITSANDBYTES:
        return (f"{mode.scheme} as ideal packing of every linear layer",)
    if mode.transformers < 5 and mode.scheme is not None:
        return ("transformers 4 by the names in the file, not by its own classes",)
    if model.packed_by is not None and mode.scheme is None and mode.bits != modes.STORED:
        return (_DEQUANTIZED,)
    found = (doubt for component in model.components for doubt in component.doubts)
    return tuple(dict.fromkeys(found))
