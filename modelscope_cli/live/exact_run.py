"""`--exact`: KV cache and activations of a forward on the meta device, to the byte.

One prefill of all tokens and one step more, as `generate` does them, without any weight.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from modelscope_cli.facts import Unknown
from modelscope_cli.live import library, limits, skeleton
from modelscope_cli.live.exact_cache import ExactCache, cache_of, measured
from modelscope_cli.live.inputs import Given, Size, candidates
from modelscope_cli.live.library import Libraries, first_line
from modelscope_cli.live.meta_mode import modes
from modelscope_cli.live.skeleton import Skeleton

SECONDS = 60.0  # a state-space model without its kernels goes token by token


class ExactActivations(NamedTuple):
    """Bytes beyond weights and cache at the peak of a forward.

    `prefill_bytes` with the logits of the last position alone, as `generate` asks for them,
    `all_logits_bytes` with those of every position, as a plain call gives them; the same where
    a class has no such choice. `decode_bytes` of one token more; 0 where there is no cache.
    """

    prefill_bytes: int
    all_logits_bytes: int
    decode_bytes: int


class ExactRun(NamedTuple):
    """A forward's cache (None: the class keeps none) and activations; `given` what went in."""

    cache: ExactCache | None
    activations: ExactActivations
    given: str
    class_name: str
    note: str | None = None


def exact_run(
    config: Mapping[str, Any],
    architecture: str | None,
    *,
    batch: int = 1,
    context: int,
    dtype: str | None = None,
    encoder_context: int | None = None,
    device: str = "cuda",
    seconds: float = SECONDS,
) -> ExactRun | Unknown:
    """What a forward of `batch` sequences of `context` tokens takes, beside the weights.

    `device` says whose attention kernels are meant. Memory of kernels' own workspace (a GPU's
    matrix multiplications) is not in it. Unknown where the class does not run on meta, or not
    in `seconds`. Raises MissingExtra.
    """
    libraries = library.load("--exact runs the model's class on the meta device")
    made = skeleton.build(libraries, config, architecture, dtype)
    if isinstance(made, Unknown):
        return made
    size = Size(batch, context, encoder_context or context)
    with library.nothing_remote(), library.quiet():
        try:
            skeleton.tie(made.model)
            if "SequenceClassification" in made.class_name:
                made.model.config.pad_token_id = 0  # it looks for each sequence's last token
            with limits.time_limit(seconds):
                return _first_that_runs(libraries, made, size, device)
        except limits.TooMuch as stopped:
            return Unknown(
                f"the forward of {made.class_name} on meta was {stopped}: a shorter "
                "--context takes less (without kernels, states go token by token)"
            )
        except Exception as error:
            return Unknown(f"{libraries.name} cannot run {made.class_name}: {first_line(error)}")


def _first_that_runs(
    libraries: Libraries, made: Skeleton, size: Size, device: str
) -> ExactRun | Unknown:
    first: Exception | None = None
    for given in candidates(libraries.torch, made.model, made.dtype, size):
        try:
            return _run(libraries, made, given, device)
        except limits.TooMuch:
            raise
        except Exception as error:  # of inputs that this class does not take
            first = first or error
    reason = "no input is known for it" if first is None else first_line(first)
    return Unknown(f"{made.class_name} does not run on the meta device: {reason}")


def _run(libraries: Libraries, made: Skeleton, given: Given, device: str) -> ExactRun:
    forward = _Forward(libraries, made.model, given, device)
    every = forward.prefill({})
    last = forward.prefill({"logits_to_keep": 1}) if forward.chooses_logits else every
    activations = ExactActivations(last.beyond_cache, every.beyond_cache, last.decode_bytes)
    return ExactRun(last.cache, activations, given.what, made.class_name, made.note)


class _Prefilled(NamedTuple):
    cache: ExactCache | None
    beyond_cache: int
    decode_bytes: int


class _Forward:
    """Forwards of one model on one input. A class that takes no `use_cache` is asked without."""

    def __init__(self, libraries: Libraries, model: Any, given: Given, device: str) -> None:
        self.torch, self.model, self.given = libraries.torch, model, given
        self.modes = modes(libraries, device=device)
        tensors = (*model.parameters(), *model.buffers(), *given.arguments.values())
        self.there = tensors
        names = inspect.signature(model.forward).parameters
        self.chooses_logits = "logits_to_keep" in names
        kinds = {parameter.kind for parameter in names.values()}
        open_ended = inspect.Parameter.VAR_KEYWORD in kinds and model.can_generate()
        self.asks = {"use_cache": True} if "use_cache" in names or open_ended else {}

    def prefill(self, wishes: Mapping[str, Any]) -> _Prefilled:
        """All tokens at once, then one more where there is a cache."""
        tracker = self.modes.tracker(self.there)
        arguments = {**self.given.arguments, **self.asks, **wishes}
        try:
            output = self._call(tracker, arguments)
        except ValueError:  # a stack that is no decoder refuses to be asked for a cache
            if not self.asks:
                raise
            self.asks = {}
            return self.prefill(wishes)
        found = cache_of(output)
        if found is None:
            return _Prefilled(None, tracker.peak, 0)
        name, cache = found
        held = measured(cache, self.model.config.get_text_config(decoder=True))
        step = self._step(output, name, cache)
        prefill_peak = tracker.peak
        del output, found
        tracker.restart()
        self._call(tracker, {**step, **self.asks, **wishes})
        decode = max(0, tracker.peak - held.peak_bytes)
        return _Prefilled(held, max(0, prefill_peak - held.peak_bytes), decode)

    def _call(self, tracker: Any, arguments: Mapping[str, Any]) -> Any:
        with self.torch.no_grad(), self.modes.fixes(), tracker:
            return self.model(**arguments)

    def _step(self, output: Any, name: str, cache: Any) -> dict[str, Any]:
        """The arguments of one token more."""
        key = next(key for key in ("decoder_input_ids", "input_ids") if key in self.given.arguments)
        token = self.given.arguments[key][:, :1]
        step = {key: token, name: cache}
        encoded = getattr(output, "encoder_last_hidden_state", None)
        if encoded is not None:
            return {**step, "encoder_outputs": (encoded,)}
        return step
