"""A forward on the meta device that takes the branches of a real one, and the peak of its tensors.

Measured: with these two fixes the bytes that live at once equal those of a real run on the CPU.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any, NamedTuple

from modelscope_cli.live.library import Libraries


class Modes(NamedTuple):
    """Two context managers: `fixes` around the forward, `tracker(exclude)` inside them."""

    fixes: Any
    tracker: Any


def modes(libraries: Libraries, *, device: str = "cuda") -> Modes:
    """For a forward as on that device: which attention kernel it would take.

    On a CPU scores are written out where the query's and value's widths differ (latent
    attention); a CUDA card has a kernel that does without.
    """
    return Modes(_fixes(libraries.torch, device), _tracker(libraries.torch))


def _fixes(torch: Any, device: str) -> Any:
    functional = torch.nn.functional

    class Fixes(torch.overrides.TorchFunctionMode):  # type: ignore[misc]  # torch is untyped here
        """`bool(meta tensor)` is True, as every mask check of `.all()` is without padding."""

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = kwargs or {}
            if func is torch.Tensor.__bool__ and args[0].is_meta:
                return True
            if func is torch.Tensor.__contains__ and args[0].is_meta:
                return False  # whether padding is among the tokens
            if func is functional.scaled_dot_product_attention:
                fused = _fused(torch, device, *args, **kwargs)
                if fused is not None:
                    return fused
            if getattr(func, "__name__", "") in _GROUPED and not torch.is_grad_enabled():
                return _grouped(func, *args, **kwargs)
            return func(*args, **kwargs)

    return Fixes


_GROUPED = ("grouped_mm", "_grouped_mm")


def _grouped(func: Any, tokens: Any, weights: Any, **others: Any) -> Any:
    """The meta kernel refuses all but bfloat16, and widths that are no multiple of 16 bytes."""
    if not tokens.is_meta:
        return func(tokens, weights, **others)
    return tokens.new_empty(tokens.shape[0], weights.shape[-1])


def _fused(
    torch: Any,
    device: str,
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """The kernel's own operator: on meta torch would write the scores out, which no device does."""
    if not query.is_meta or query.ndim != 4:
        return None
    if attn_mask is not None and attn_mask.requires_grad:  # a learned bias: T5 in training
        return None
    alike = query.shape[-1] == value.shape[-1]
    if not alike and device == "cpu":
        return None
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        shut = torch.zeros_like(attn_mask, dtype=query.dtype)
        attn_mask = shut.masked_fill_(attn_mask.logical_not(), float("-inf"))
    if not alike:
        return _efficient(torch, query, value)
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return flash(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale)[0]


def _efficient(torch: Any, query: Any, value: Any) -> Any:
    """What the memory-efficient kernel leaves: the output, beside a logsumexp that is dropped."""
    batch, heads, tokens, _ = query.shape
    output = query.new_empty(batch, tokens, heads, value.shape[-1])
    query.new_empty(batch, heads, tokens, dtype=torch.float32)
    return output.transpose(1, 2)


def _tracker(torch: Any) -> Any:
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from torch.utils.weak import WeakIdKeyDictionary

    class PeakTracker(TorchDispatchMode):  # type: ignore[misc]
        """Bytes of storages that live at once, of those made inside; `exclude` was there before."""

        def __init__(self, exclude: Iterable[Any] = ()) -> None:
            super().__init__()
            self.known = WeakIdKeyDictionary()
            self.bytes = self.peak = 0
            self.ignored: frozenset[Any] = frozenset()  # shapes that are not counted
            for tensor in exclude:
                self.known[tensor.untyped_storage()] = True

        def restart(self) -> None:
            """The next peak counts from here."""
            self.peak = self.bytes

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            for leaf in tree_leaves(out):
                if isinstance(leaf, torch.Tensor) and leaf.shape not in self.ignored:
                    self._seen(leaf.untyped_storage())
            self.peak = max(self.peak, self.bytes)
            return out

        def _seen(self, storage: Any) -> None:
            if storage in self.known:
                return
            size = storage.nbytes()
            self.known[storage] = True
            self.bytes += size
            weakref.finalize(storage, self._freed, size).atexit = False

        def _freed(self, size: int) -> None:
            self.bytes -= size

    return PeakTracker
