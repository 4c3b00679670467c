"""The cards that `--gpus` names: `4x80GiB`, `2xa100-80gb`, `gpu:a100-sxm4-80gb:4`.

What a card can hand out is less than what nvidia-smi shows. `data/gpus.json` has both, as read in
public reports (out-of-memory messages of PyTorch tell the former): nothing was measured here, and
by driver and ECC the figure differs by up to 1 %.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli import places
from modelscope_cli.analysis.memory.request import size
from modelscope_cli.errors import UsageError, did_you_mean

FLAG = "--gpus"
MOST_CARDS = 1024
MOST_BYTES = 16 * 2**40  # of one card: no such thing is near
_HINT = "4x80GiB, 24GiB,48GiB, 2xa100-80gb, gpu:a100-sxm4-80gb:4, auto"
_LONGEST = 1000  # characters typed

_TIMES = re.compile(r"(\d+)\s*[x×*]\s*(.+)", re.IGNORECASE)
_SLURM = re.compile(r"(?:(?:--)?gres[=:/]|--gpus=)?gpu:(.+)", re.IGNORECASE)
_TYPE_AND_COUNT = re.compile(r"([a-z][^:]*)(?::(\d+))?", re.IGNORECASE)
_SOCKETS = re.compile(r"\([^)]*\)")  # what `scontrol show node` adds: gpu:a100:4(S:0-1)
_SIZE = re.compile(r"\d+(?:\.\d+)?\s*(?:[kmgt]i?b|[bkmgt])", re.IGNORECASE)  # no 2080ti
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
# Of the names that nvidia-smi and SLURM give: who made it, how it is plugged in.
_NOT_TELLING = re.compile(
    "nvidia|tesla|geforce|quadro|amd|instinct|gpu|generation|edition|server|workstation|max|q|oam"
    "|sxm[2-6]?|pcie[45]?|hbm[23]?e?"
)


class Card(NamedTuple):
    """One type of card. `bytes`: what CUDA hands out; where no report tells, what nvidia-smi shows.

    `source` says where the figures were read, `note` what is odd about it.
    """

    name: str
    bytes: int
    smi_bytes: int | None
    reported: bool
    source: str
    note: str | None = None


class Cards(NamedTuple):
    """The cards asked for. `each`: usable bytes, card by card; `type`: SLURM's word, as typed."""

    name: str
    each: tuple[int, ...]
    type: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """Cards."""
        return len(self.each)

    @property
    def each_bytes(self) -> int:
        """Usable bytes of the smallest card."""
        return min(self.each)

    def of(self, number: int) -> Cards:
        """Another number of the first of them."""
        name = self.name.partition(" + ")[0].partition(" x ")[2]
        return self._replace(name=f"{number} x {name}", each=self.each[:1] * number)


class _Piece(NamedTuple):
    """One entry of the list: so many cards alike."""

    name: str
    each: int
    number: int
    type: str | None = None
    note: str | None = None


def parse(text: str) -> Cards:
    """The cards that a text names; `auto` is not resolved here. Raises UsageError."""
    typed = _SOCKETS.sub("", text[:_LONGEST]).strip()
    pieces = [_piece(piece.strip()) for piece in typed.split(",")]
    each = tuple(usable for piece in pieces for usable in [piece.each] * piece.number)
    if len(each) > MOST_CARDS:
        raise UsageError(f"{FLAG}: {len(each):,} cards are more than {MOST_CARDS:,}")
    return Cards(
        " + ".join(_shown(piece) for piece in pieces),
        each,
        pieces[0].type if len(pieces) == 1 else None,
        tuple(dict.fromkeys(piece.note for piece in pieces if piece.note)),
    )


def _shown(piece: _Piece) -> str:
    return f"{piece.number} x {piece.name}"


def _piece(typed: str) -> _Piece:
    if (found := _SLURM.fullmatch(typed)) is not None:
        return _slurm(typed, found[1])
    if (found := _TIMES.fullmatch(typed)) is not None:
        return _cards(found[2].strip(), _count(typed, found[1]))
    if (found := _TYPE_AND_COUNT.fullmatch(typed)) is not None and found[2]:
        return _cards(found[1], _count(typed, found[2]))._replace(type=found[1])
    return _cards(typed, 1)


def _slurm(typed: str, rest: str) -> _Piece:
    if rest.isdecimal():
        what = f"{FLAG}: {typed!r} does not say which cards"
        raise UsageError(what, f"gpu:a100-80gb:{rest}, or {rest}x80GiB")
    found = _TYPE_AND_COUNT.fullmatch(rest)
    if found is None:
        raise UsageError(f"{FLAG}: {typed!r} is not gpu:TYPE:COUNT", "gpu:a100-sxm4-80gb:4")
    return _cards(found[1], _count(typed, found[2] or "1"))._replace(type=found[1])


def _count(typed: str, digits: str) -> int:
    count = int(digits) if len(digits) <= len(str(MOST_CARDS)) else MOST_CARDS + 1
    if not 0 < count <= MOST_CARDS:
        raise UsageError(f"{FLAG}: {typed!r}: 1 to {MOST_CARDS:,} cards")
    return count


def _cards(typed: str, count: int) -> _Piece:
    if _SIZE.fullmatch(typed):
        return _Piece(typed, _size(typed), count)
    if _NUMBER.fullmatch(typed) and _known(typed) is None:
        raise UsageError(f"{FLAG}: {typed!r} has no unit", f"{typed}GiB")
    card = named(typed)
    return _Piece(card.name, card.bytes, count, note=_note(card))


def _note(card: Card) -> str | None:
    if card.note is not None:
        return f"{card.name}: {card.note}"
    if card.reported:
        return None
    return f"{card.name}: what nvidia-smi shows, of which CUDA keeps some for itself"


def _size(typed: str) -> int:
    found = size(FLAG, typed)
    if not 0 < found <= MOST_BYTES:
        raise UsageError(f"{FLAG}: {typed!r} is no size that a card has", _HINT)
    return found


def named(typed: str) -> Card:
    """The card of that name, as SLURM or nvidia-smi may spell it. Raises UsageError."""
    card = _known(typed)
    if card is None:
        raise UsageError(f"{FLAG}: no card is known as {typed!r}", _near(typed))
    return card


def _known(typed: str) -> Card | None:
    """The card of that name, or whose name alone begins so."""
    table, key = _table(), _key(typed)
    if key in table or not key:
        return table.get(key)
    begins = {card for name, card in table.items() if name.startswith(key)}
    return begins.pop() if len(begins) == 1 else None


def _near(typed: str) -> str:
    table, key = _table(), _key(typed)
    begins = {card.name: None for name, card in table.items() if key and name.startswith(key)}
    if begins:
        return f"is it {' or '.join(begins)}?"
    return did_you_mean(typed.lower(), names()) or f"or by size: {_HINT}"


def names() -> Sequence[str]:
    """Every card's name."""
    return list(dict.fromkeys(card.name for card in _table().values()))


def _key(name: str) -> str:
    """What tells a card: `NVIDIA A100-SXM4-80GB`, `a100_80gb` -> `a10080gb`."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    return "".join(word for word in words if not _NOT_TELLING.fullmatch(word))


_loaded: dict[str, Card] = {}


def _table() -> Mapping[str, Card]:
    """The cards by the keys of their names."""
    if not _loaded:
        import json  # only where a card is named

        with open(places.data("gpus.json"), "rb") as stream:
            rows = json.load(stream)["cards"]
        for row in rows:
            card = _card(row)
            _loaded.update({_key(name): card for name in (card.name, *row["aliases"])})
    return _loaded


def _card(row: Mapping[str, Any]) -> Card:
    shown = None if row["smi_mib"] is None else row["smi_mib"] * 2**20
    reported = row["cuda_gib"] is not None
    usable = int(row["cuda_gib"] * 2**30) if reported else shown
    return Card(row["name"], usable or 0, shown, reported, row["source"], row.get("note"))
