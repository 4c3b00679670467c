"""Which parameters bitsandbytes takes under transformers, and why it leaves the others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from modelscope_cli.analysis.memory.weights.held import Held, filled, numbers
from modelscope_cli.knowledge.modules import Tie

# `should_convert_module` of transformers' quantizers_utils: a key fits a module's name from its
# start up to a part's end, or is the end of it.
_BOUNDARY = r"(?:(?<=\.)|(?=\.|$))"

_NOT_LINEAR = {
    "sublinear": "a subclass of Linear: bitsandbytes takes Linear itself only",
    "embedding": "an embedding, not a linear layer",
    "conv": "a convolution, not a linear layer",
    "norm": "a norm",
}
EXPERTS = "experts fused into one tensor: no Linear that bitsandbytes could take"
_RAW = "a tensor of its own, not a linear layer's weight"
SMALL = "a bias, norm or other small tensor"


class Judged(NamedTuple):
    """A parameter row, or a part of it, with why it stays as it is; None: it is quantized.

    The part are `times` parameters from the `start`-th on; `elements` and `outputs` are sums.
    """

    held: Held
    reason: str | None
    times: int
    elements: int
    outputs: int
    start: int = 0

    def names(self) -> Iterator[str]:
        """Every parameter's name."""
        return islice(self.held.names(), self.start, self.start + self.times)

    def shown(self) -> str:
        """The names as one, with ranges."""
        return next(self.names()) if self.times == 1 else self.held.shown()


class Skips(NamedTuple):
    """What a class keeps from quantization by default: its own names and why."""

    keys: tuple[tuple[str, str], ...]  # (pattern of module names, reason)
    last: str | None  # the template of the module that holds the last parameter


def skips(
    ties: Iterable[Tie], output: str | None, last: str | None, keep_in_fp32: Sequence[str]
) -> Skips:
    """The default list of transformers' `get_keys_to_not_convert`.

    `ties` are the active ones, `output` the output embedding's module, `last` the template of the
    last of named_parameters() (a bias protects nothing: no module has its name).
    """
    keys: dict[str, str] = {}
    for tie in ties:
        for name in (tie.source, tie.target):
            keys[_pattern(name.removesuffix(".weight"))] = "tied to another parameter"
    if output:
        keys.setdefault(_pattern(output), "the output head, left alone by default")
    for key in keep_in_fp32:
        keys.setdefault(key, "kept in float32 by its class")
    module = last.removesuffix(".weight") if last and last.endswith(".weight") else None
    if module and "*" not in module:
        keys.setdefault(_pattern(module), "the model's last parameter, left alone by default")
        module = None
    return Skips(tuple(keys.items()), module)


def _pattern(template: str) -> str:
    return re.escape(template).replace(r"\*", r"\d+")


def judge(held: Sequence[Held], skip: Skips) -> list[Judged]:
    """Each row, quantized or not."""
    rules = [(_compiled(key), reason) for key, reason in skip.keys]
    last = _with_last(held, skip.last)
    return [part for each in held for part in _parts(each, rules, has_last=each is last)]


def _with_last(held: Sequence[Held], module: str | None) -> Held | None:
    """The row whose last parameter is the model's: of layers unlike each other there are more."""
    if module is None:
        return None
    of_module = (each for each in held if each.template == f"{module}.weight")
    return max(of_module, key=_last_numbers, default=None)


def _last_numbers(held: Held) -> tuple[int, ...]:
    return numbers(filled(held.name, held.places, [axis[-1] for axis in held.axes]))


def _compiled(key: str) -> re.Pattern[str]:
    return re.compile(rf"(?:(?:{key}){_BOUNDARY}|.*(?:{key})$)")


def _parts(
    held: Held, rules: Sequence[tuple[re.Pattern[str], str]], *, has_last: bool
) -> list[Judged]:
    reason = not_linear(held) or _skipped(held, rules)
    whole = Judged(held, reason, held.times, held.elements, held.outputs)
    if reason is not None or not has_last:
        return [whole]
    one = Judged(
        held,
        "the model's last parameter, left alone by default",
        1,
        held.elements // held.times,
        held.outputs // held.times,
        held.times - 1,
    )
    rest = Judged(
        held, None, held.times - 1, held.elements - one.elements, held.outputs - one.outputs
    )
    return [rest, one] if rest.times else [one]


def not_linear(held: Held) -> str | None:
    """Why bitsandbytes never takes it; None for the weight of a Linear (or GPT-2's Conv1D)."""
    if held.kind in ("linear", "conv1d") and held.is_matrix:
        return None
    if held.kind in ("linear", "conv1d"):
        return SMALL
    if held.kind == "raw":
        shapes = {len(stored.shape) for stored in held.stored}
        if held.merged or max(shapes) > 2:
            return EXPERTS if "expert" in held.template else _RAW
        return _RAW if max(shapes) == 2 else SMALL
    return _NOT_LINEAR.get(held.kind, SMALL)


def _skipped(held: Held, rules: Sequence[tuple[re.Pattern[str], str]]) -> str | None:
    module = held.first_module
    return next((reason for pattern, reason in rules if pattern.match(module)), None)
