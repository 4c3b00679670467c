"""The files beside a model that tell of its licence: model card, licence text, configuration."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from modelscope_cli.analysis import licence
from modelscope_cli.analysis.licence import Licence
from modelscope_cli.errors import MscopeError
from modelscope_cli.facts import ModelFacts, Unknown
from modelscope_cli.opening import How
from modelscope_cli.sources.base import Extent, Source
from modelscope_cli.sources.local import LocalSource


def licence_of(facts: ModelFacts, how: How | None = None) -> Licence | Unknown:
    """What the model's own files say of its licence, the card before the rest.

    Of a model on the Hub they are asked for as `how` allows.
    """
    if facts.ref.kind == "builtin":
        return Unknown("a built-in has no model card")
    try:
        with _beside(facts, how or How()) as source:
            return _told(facts, source)
    except MscopeError as error:
        return Unknown(f"the files beside it could not be read: {error.message}")


@contextmanager
def _beside(facts: ModelFacts, how: How) -> Iterator[Source]:
    """The folder that the model lies in."""
    if facts.ref.kind == "hub":
        from modelscope_cli import hub_model  # what it needs takes 5 ms, no model on disk does

        with hub_model.reopened(facts.ref, how) as source:
            yield source
        return
    folder = facts.ref.path or "."
    yield LocalSource(folder if os.path.isdir(folder) else os.path.dirname(folder), facts.ref)


def _told(facts: ModelFacts, source: Source) -> Licence | Unknown:
    names = [name for name, size in source.files().items() if size > 0]
    source.expect([Extent(name, 0, licence.MOST_BYTES) for name in licence.cards(names)])
    unread: dict[str, str] = {}

    def start(name: str) -> bytes:
        try:
            with source.open(name) as file:
                return file.read_at(0, min(file.size, licence.MOST_BYTES))
        except MscopeError as error:
            unread[name] = error.message
            return b""

    found = next(licence.stated(names, start, facts), None)
    return found or Unknown(_why_not(facts, names, unread))


def _why_not(facts: ModelFacts, names: Collection[str], unread: dict[str, str]) -> str:
    if unread:
        return f"could not be read: {next(iter(unread.values()))}"
    if texts := licence.texts(names):
        return f"{texts[0]} is a text that is not known here"
    where = " in the HF cache" if facts.ref.kind == "cache" else ""
    return f"no model card, licence file or configuration{where} says"
