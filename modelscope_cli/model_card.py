"""The files beside a model that tell of its licence: model card, licence text, configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator

from modelscope_cli.analysis import licence
from modelscope_cli.analysis.licence import Licence
from modelscope_cli.errors import MscopeError
from modelscope_cli.facts import ModelFacts, Unknown
from modelscope_cli.sources.local import LocalFile

_CARDS = ("README.md", "README.MD", "readme.md")
_TEXTS = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")


def licence_of(facts: ModelFacts) -> Licence | Unknown:
    """What the model's own files say of its licence, the card before the rest."""
    if facts.ref.kind == "builtin":
        return Unknown("a built-in has no model card")
    found = next(_said(facts), None)
    if found is not None:
        return found
    beside = next((name for name, _ in _read(facts, _TEXTS)), None)
    if beside is not None:
        return Unknown(f"{beside} is a text that is not known here")
    return Unknown("no model card, licence file or configuration says")


def _said(facts: ModelFacts) -> Iterator[Licence]:
    for name, data in _read(facts, _CARDS):
        if (text := licence.of_card(data)) is not None:
            yield Licence(text, name)
    for file in facts.files:
        text = file.metadata.get("general.license") if file.format == "gguf" else None
        if isinstance(text, str) and text:
            yield Licence(text, file.path)
    for name, data in _read(facts, _TEXTS):
        if (text := licence.of_text(data)) is not None:
            yield Licence(text, name)
    text = (facts.config or {}).get("license")
    if isinstance(text, str) and text:
        yield Licence(text, facts.config_file or "config.json")


def _read(facts: ModelFacts, names: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """The start of those files that are there and can be read."""
    folder = facts.ref.path
    if folder is None:
        return
    if not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    for name in names:
        try:
            with LocalFile(os.path.join(folder, name), name) as file:
                yield name, file.read_at(0, min(file.size, licence.MOST_BYTES))
        except MscopeError:
            continue
