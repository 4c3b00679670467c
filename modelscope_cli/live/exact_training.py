"""`--exact` for training: what a forward and its backward keep, on the meta device, to the byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelscope_cli.facts import Unknown
from modelscope_cli.live import library, limits, skeleton
from modelscope_cli.live.exact_run import SECONDS
from modelscope_cli.live.inputs import Given, Size, candidates
from modelscope_cli.live.library import Libraries, first_line
from modelscope_cli.live.meta_mode import modes
from modelscope_cli.live.skeleton import Skeleton


def exact_training(
    config: Mapping[str, Any],
    architecture: str | None,
    *,
    batch: int = 1,
    context: int,
    dtype: str | None = None,
    encoder_context: int | None = None,
    device: str = "cuda",
) -> int | Unknown:
    """Bytes at the peak beside weights, gradients and optimizer: all parameters are trained.

    Nothing is made again (no gradient checkpointing). What has the shape of a parameter during
    the backward is taken for its gradient and not counted. Text alone. Unknown where the class
    does not run so. Raises MissingExtra.
    """
    libraries = library.load("--exact runs the model's class on the meta device")
    made = skeleton.build(libraries, config, architecture, dtype)
    if isinstance(made, Unknown):
        return made
    size = Size(batch, context, encoder_context or context)
    with library.nothing_remote(), library.quiet():
        try:
            skeleton.tie(made.model)
            given = next(candidates(libraries.torch, made.model, made.dtype, size))
            with limits.time_limit(SECONDS):
                return _peak(libraries, made, given, device)
        except limits.TooMuch as stopped:
            return Unknown(f"the training step of {made.class_name} on meta was {stopped}")
        except Exception as error:
            return Unknown(
                f"{made.class_name} cannot be trained on the meta device: {first_line(error)}"
            )


def _peak(libraries: Libraries, made: Skeleton, given: Given, device: str) -> int | Unknown:
    model, arguments = made.model.train(), dict(given.arguments)
    words = next((k for k in ("decoder_input_ids", "input_ids") if k in arguments), None)
    if words is None:
        return Unknown(f"{made.class_name} is trained on no text")
    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.register_post_accumulate_grad_hook(_forget)
    found = modes(libraries, device=device)
    tracker = found.tracker([*parameters, *model.buffers(), *arguments.values()])
    with found.fixes(), tracker:
        loss = model(**arguments, labels=arguments[words], use_cache=False).loss
        if loss is None:
            return Unknown(f"{made.class_name} has no loss of its own")
        tracker.ignored = _gradients(parameters)
        loss.backward()
    return int(tracker.peak)


def _gradients(parameters: list[Any]) -> frozenset[Any]:
    """Shapes of gradients, and of the products that they are turned from."""
    shapes = [parameter.shape for parameter in parameters if parameter.ndim > 1]
    turned = [(*shape[:-2], shape[-1], shape[-2]) for shape in shapes]
    return frozenset(map(tuple, (*shapes, *turned)))


def _forget(parameter: Any) -> None:
    parameter.grad = None
