"""What one layer keeps of one sequence, counted in values."""

from __future__ import annotations

from typing import NamedTuple

BLOCK = 16  # tokens a block of a paged cache holds: vLLM's default


class Held(NamedTuple):
    """Values that a layer keeps after `tokens` were given at once.

    `values` are in the cache's dtype; `peak` counts their storage just then; `token` is what one
    more token adds; `paged` is what blocks of 16 tokens hold that free what has left the window.
    `states` are in the model's dtype and `float32` in that one, whatever the cache's dtype.
    """

    kind: str
    values: int = 0
    peak: int = 0
    token: int = 0
    paged: int = 0
    states: int = 0
    float32: int = 0


def growing(kind: str, width: int, tokens: int) -> Held:
    """`width` values for every token: DynamicLayer of transformers' cache_utils."""
    held = width * tokens
    return Held(kind, held, held, width, width * _paged(tokens))


def sliding(kind: str, width: int, tokens: int, window: int) -> Held:
    """The last `window - 1` tokens: DynamicSlidingWindowLayer, which cuts `[-window + 1:]`.

    What it keeps is a view: until the next token its storage holds the whole prompt. A window of
    1 cuts nothing and one of 0 only the first token, as the slice does.
    """
    kept, then = (len(range(count)[1 - window :]) for count in (tokens, tokens + 1))
    paged = _paged(tokens)
    if 0 < window < tokens:
        paged = min(paged, _paged(window) + BLOCK)  # a window that starts within a block
    return Held(kind, width * kept, width * tokens, width * (then - kept), width * paged)


def constant(kind: str, states: int = 0, float32: int = 0) -> Held:
    """The same for any number of tokens."""
    return Held(kind, states=states, float32=float32)


def _paged(tokens: int) -> int:
    return -(-tokens // BLOCK) * BLOCK
