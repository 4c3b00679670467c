"""The result: rows, what they assume, the cards they are on, and what the library says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from modelscope_cli.analysis.memory.kv.cache import KVCache
from modelscope_cli.analysis.memory.model import Model
from modelscope_cli.analysis.memory.row import Row, Workload
from modelscope_cli.analysis.params import Params, Totals
from modelscope_cli.facts import Note, Unknown

if TYPE_CHECKING:
    from modelscope_cli.comparing import Compared
    from modelscope_cli.footprint.cards import OnCards


class Footprint(NamedTuple):
    """The rows, the one on top, and what all of them assume.

    `params` are the tensors as examined, `parameters` their sums, unknown where none were read.
    `at_limit` is the top row's cache at the model's limit. `on_cards` has one entry a row where
    cards were named. `exact` and `measured` are of the top row.
    """

    rows: tuple[Row, ...]
    model: Model
    params: Params
    parameters: Totals
    work: Workload
    limit: int | None
    at_limit: KVCache | Unknown | None
    context_said: bool
    runtime: int
    notes: tuple[Note, ...] = ()
    on_cards: tuple[OnCards, ...] = ()
    exact: Compared | None = None
    measured: Compared | None = None
    code: str | Unknown | None = None

    @property
    def top(self) -> Row:
        """The row that was asked for, else the checkpoint as stored."""
        return self.rows[0]

    @property
    def cards(self) -> int:
        """Cards; 1 where none were named."""
        return self.on_cards[0].cards.number if self.on_cards else 1
