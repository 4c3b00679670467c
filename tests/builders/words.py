"""Small integers packed into words as one stream of bits, the lowest first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def pack(values: Integers, bits: int, word: int = 32) -> Integers:
    """[n, columns] -> words [n * bits / word, columns], rounded up: a stream down each column.

    So AutoGPTQ packs 2, 4 and 8 bits, and 3 bits too, whose 10 + 1 + 10 + 1 + 10 values in three
    words are the same stream.
    """
    stream = _bits_of(values, bits)
    room = -len(stream) % word
    stream = np.concatenate([stream, np.zeros((room, *stream.shape[1:]), dtype=np.int64)])
    return _numbers(stream, word)


def unpack(words: Integers, bits: int, count: int, word: int = 32) -> Integers:
    """The first `count` values of each column."""
    return _numbers(_bits_of(words, word)[: count * bits], bits)


def _bits_of(values: Integers, bits: int) -> Integers:
    shifts: Any = np.arange(bits).reshape(1, bits, 1)
    found: Integers = ((values[:, None, :] >> shifts) & 1).reshape(-1, values.shape[1])
    return found


def _numbers(stream: Integers, bits: int) -> Integers:
    weights: Any = (1 << np.arange(bits, dtype=np.int64)).reshape(1, bits, 1)
    found: Integers = (stream.reshape(-1, bits, stream.shape[1]) * weights).sum(axis=1)
    return found
