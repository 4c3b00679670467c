"""What fits on the cards: the largest context or batch, and the fewest cards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from modelscope_cli.analysis.memory.cards.devices import MOST_CARDS, Cards
from modelscope_cli.analysis.memory.cards.placement import Placed
from modelscope_cli.facts import Unknown


class Fit(NamedTuple):
    """The largest number that fits. `value` 0: not even one does.

    `at_limit`: nothing but the limit stops it there. `bytes` is what it takes, or what one takes
    where none fits.
    """

    value: int
    bytes: int
    at_limit: bool


def largest(bytes_at: Callable[[int], int | Unknown], room: int, limit: int) -> Fit | Unknown:
    """The largest number from 1 to `limit` whose bytes are at most `room`.

    `bytes_at` must not fall as the number grows. It is asked at most 2 + log2(limit) times, 22 of
    a limit of a million.
    """
    least = bytes_at(1)
    most = bytes_at(limit)
    for found in (least, most):
        if isinstance(found, Unknown):
            return found
    assert isinstance(least, int) and isinstance(most, int)  # noqa: S101, PT018 - told to mypy
    if least > room or limit < 1:
        return Fit(0, least, at_limit=False)
    if most <= room:
        return Fit(limit, most, at_limit=True)
    return _bisected(bytes_at, room, (1, least), limit)


def _bisected(
    bytes_at: Callable[[int], int | Unknown], room: int, fits: tuple[int, int], too_many: int
) -> Fit | Unknown:
    while too_many - fits[0] > 1:
        middle = (fits[0] + too_many) // 2
        found = bytes_at(middle)
        if isinstance(found, Unknown):
            return found
        if found <= room:
            fits = middle, found
        else:
            too_many = middle
    return Fit(*fits, at_limit=False)


def fewest(fits: Callable[[int], bool], most: int = MOST_CARDS) -> int | None:
    """The fewest cards with which it fits, None where `most` are too few.

    More cards are taken never to be worse; 2 log2 of the answer questions are asked.
    """
    upper = 1
    while not fits(upper):
        if upper >= most:
            return None
        upper = min(2 * upper, most)
    lower = upper // 2  # does not fit, or is 0
    while upper - lower > 1:
        middle = (lower + upper) // 2
        lower, upper = (lower, middle) if fits(middle) else (middle, upper)
    return upper


def shared_out(total: int, placed: Sequence[Placed], layers: Sequence[str]) -> dict[str, int]:
    """Bytes that live beside the layers (the cache), shared out by how many each device has.

    Layers all alike are an assumption; what does not come out even is on the first ones.
    """
    device_of = {module: row.device for row in placed for module in row.modules}
    has = {row.device: 0 for row in placed}
    for layer in layers:
        device = next((device_of[name] for name in _lineage(layer) if name in device_of), None)
        if device is not None:
            has[device] += 1
    count = sum(has.values())
    shares, given, seen = {}, 0, 0
    for device, number in has.items():
        seen += number
        upto = -(-total * seen // count) if count else 0
        shares[device] = upto - given
        given = upto
    if not count and shares:
        shares[next(iter(shares))] = total
    return shares


def _lineage(name: str) -> list[str]:
    """The module and those it is in, up to the model itself."""
    parts = name.split(".")
    return [".".join(parts[:at]) for at in range(len(parts) + 1)]


def slurm_request(cards: Cards, number: int) -> str | None:
    """The smallest request as SLURM is told it; None where no type of its is known."""
    return None if cards.type is None else f"--gres=gpu:{cards.type}:{number}"
