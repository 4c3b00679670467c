"""Under which licence a model is, by what the files beside it say."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from modelscope_cli.facts import ModelFacts

MOST_BYTES = 65_536  # of a card or licence file that are looked at
_LONGEST = 200  # characters of a licence's name
_MOST_LINES = 2_000

_KEY = re.compile(r"([A-Za-z_][\w-]*)\s*:(?:\s+(.*))?")
_ITEM = re.compile(r"\s*-\s+(.*)")
_QUOTED = re.compile(r"'((?:[^']|'')*)'|\"((?:[^\"\\]|\\.)*)\"")
_OTHER = "other"  # the Hub's word where `license_name` says which

# By words that only that licence's text has, the more particular first.
_TEXTS = (
    (r"Apache License\s+Version 2\.0", "apache-2.0"),
    (r"GNU AFFERO GENERAL PUBLIC LICENSE\s+Version 3", "agpl-3.0"),
    (r"GNU LESSER GENERAL PUBLIC LICENSE\s+Version 3", "lgpl-3.0"),
    (r"GNU GENERAL PUBLIC LICENSE\s+Version 3", "gpl-3.0"),
    (r"GNU GENERAL PUBLIC LICENSE\s+Version 2", "gpl-2.0"),
    (r"Attribution-NonCommercial-ShareAlike 4\.0 International", "cc-by-nc-sa-4.0"),
    (r"Attribution-NonCommercial 4\.0 International", "cc-by-nc-4.0"),
    (r"Attribution-ShareAlike 4\.0 International", "cc-by-sa-4.0"),
    (r"Attribution 4\.0 International", "cc-by-4.0"),
    (r"CC0 1\.0 Universal", "cc0-1.0"),
    (r"Mozilla Public License,? [Vv]ersion 2\.0", "mpl-2.0"),
    (r"META LLAMA 3\.1 COMMUNITY LICENSE|LLAMA 3\.1 COMMUNITY LICENSE", "llama3.1"),
    (r"META LLAMA 3 COMMUNITY LICENSE", "llama3"),
    (r"LLAMA 2 COMMUNITY LICENSE", "llama2"),
    (r"MIT License|Permission is hereby granted, free of charge, to any person", "mit"),
    (r"Neither the name of .{1,200}? nor the names of its", "bsd-3-clause"),
)


class Licence(NamedTuple):
    """A licence's name, as the Hub spells it where it is known there, and the file that says so."""

    name: str
    file: str


def cards(names: Collection[str]) -> list[str]:
    """Which of the files beside a model are its card."""
    return sorted(name for name in names if name.lower() == "readme.md")


def texts(names: Collection[str]) -> list[str]:
    """Which of them may hold the text of a licence, by their names."""
    starts = ("license", "licence", "copying")
    return sorted(name for name in names if name.partition(".")[0].lower() in starts)


def stated(
    names: Collection[str], start: Callable[[str], bytes], facts: ModelFacts | None
) -> Iterator[Licence]:
    """Licences that a model's own files state: the card, a GGUF, a known text, the configuration.

    `names` are the files beside it, `start` gives the first bytes of one, `facts` is what was
    read of the model itself.
    """
    for name in cards(names):
        if (found := of_card(start(name))) is not None:
            yield Licence(found, name)
    for file in facts.files if facts else ():
        found = file.metadata.get("general.license") if file.format == "gguf" else None
        if isinstance(found, str) and found:
            yield Licence(found, file.path)
    for name in texts(names):
        if (found := of_text(start(name))) is not None:
            yield Licence(found, name)
    found = ((facts.config if facts else None) or {}).get("license")
    if isinstance(found, str) and found:
        yield Licence(found, (facts.config_file if facts else None) or "config.json")


def of_card(data: bytes) -> str | None:
    """`license` in the front matter of a model card; `license_name` where that is `other`."""
    fields = _front_matter(data.decode("utf-8", "replace"))
    named = fields.get("license")
    if not named:
        return None
    name = ", ".join(named)
    other = fields.get("license_name")
    if name.lower() == _OTHER and other:
        name = ", ".join(other)
    return name[:_LONGEST]


def of_text(data: bytes) -> str | None:
    """The licence whose text this is; None for one that is not known here."""
    text = " ".join(data.decode("utf-8", "replace").split())
    found = (name for pattern, name in _TEXTS if re.search(pattern, text, re.IGNORECASE))
    return next(found, None)


def _front_matter(text: str) -> dict[str, list[str]]:
    """The top-level keys of the YAML between two lines of `---`, as lists of words.

    Only what a licence needs: scalars, and lists of them in either style.
    """
    lines = text.removeprefix("\ufeff").splitlines()[:_MOST_LINES]
    if not lines or lines[0].rstrip() != "---":
        return {}
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines[1:]:
        if line.rstrip() in ("---", "..."):
            return found
        if (key := _KEY.fullmatch(line.rstrip())) is not None:
            current = found.setdefault(key[1], _values(key[2] or ""))
        elif (item := _ITEM.fullmatch(line.rstrip())) is not None:
            current += _values(item[1])
    return {}  # it never ends: no front matter


def _values(text: str) -> list[str]:
    """The words of a scalar, or of a list in brackets."""
    text = text.strip()
    if text.startswith("["):
        inside = text[1:].partition("]")[0]
        return [word for piece in inside.split(",") for word in _values(piece)]
    quoted = _QUOTED.match(text)
    if quoted is not None:
        word = quoted[1].replace("''", "'") if quoted[1] is not None else quoted[2]
    else:
        word = re.split(r"\s#", f" {text}")[0].strip()
    return [] if word in ("", "~", "null", "|", ">") else [word]
