"""Where a finding lies, as CI services take it: below the checkout, else an address."""

from __future__ import annotations

import os
from urllib.parse import quote

from modelscope_cli.facts import ModelRef

_HUB = "https://huggingface.co"


def in_checkout(model: ModelRef, file: str | None) -> str | None:
    """A path relative to the current folder, `/` between the parts; None for what lies elsewhere.

    A CI job runs in its checkout, and annotations name files of that.
    """
    path = _path(model, file)
    if path is None:
        return None
    try:
        relative = os.path.relpath(path)
    except (ValueError, OSError):  # another drive; a current folder that is gone
        return None
    if relative.split(os.sep)[0] == os.pardir:
        return None
    return relative.replace(os.sep, "/")


def address(model: ModelRef, file: str | None) -> str:
    """The same as a URI: relative, `file://`, or the file's page on the Hub."""
    relative = in_checkout(model, file)
    if relative is not None:
        return _quoted(relative) if relative != "." else "./"
    if model.kind in ("hub", "cache") and model.id is not None:
        place = f"/blob/{model.revision or 'main'}/{_quoted(file)}" if file else ""
        return f"{_HUB}/{_quoted(model.id)}{place}"
    path = _path(model, file)
    if path is None:
        return f"mscope:{_quoted(model.target)}"
    return f"file://{_quoted(os.path.abspath(path).replace(os.sep, '/'))}"


def _path(model: ModelRef, file: str | None) -> str | None:
    """The path on this disk; a model that is one file lies beside its other files."""
    if model.path is None:
        return None
    if file is None:
        return model.path
    folder = model.path if model.kind != "file" else os.path.dirname(model.path)
    return os.path.join(folder, *file.split("/"))


def _quoted(text: str) -> str:
    """Percent-encoded; bytes of a path that are no text come out as those bytes."""
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a character, out of some JSON
        raw = text.encode("utf-8", "surrogatepass")
    return quote(raw, safe="/")
