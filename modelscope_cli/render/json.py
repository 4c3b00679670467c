"""JSON: one document under an envelope; long arrays are written a row a line, piece by piece."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from math import inf, isfinite
from typing import Any

from modelscope_cli import __version__
from modelscope_cli.escape import json_text
from modelscope_cli.facts import ModelRef
from modelscope_cli.report import Report

_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False).encode
_ROWS_A_PIECE = 512


def render(report: Report, *, units: str, folded: bool) -> Iterator[str]:
    """The whole document. `units` and `folded` do not concern it: it holds raw integers."""
    separator = "{\n"
    for key, value in {**envelope(report), **report.document()}.items():
        yield f'{separator}  "{key}": '
        yield from _array(value) if isinstance(value, Iterator) else [_text(value)]
        separator = ",\n"
    yield "\n}\n"


def envelope(report: Report) -> dict[str, Any]:
    """What every document starts with: schema, tool and, where there is one, the model."""
    start: dict[str, Any] = {
        "schema": f"mscope/{report.command}/1",
        "tool": {"name": "mscope", "version": __version__},
    }
    if report.model is not None:
        start["model"] = model_object(report.model)
    return start


def model_object(ref: ModelRef) -> dict[str, Any]:
    """The `model` object: null where a field does not apply."""
    return ref._asdict()


def line(record: Mapping[str, Any]) -> str:
    """One record as a line of JSON."""
    return f"{_text(record)}\n"


def _text(value: Any) -> str:
    try:
        text = _encode(value)
    except ValueError:  # JSON has no word for infinity: a string says it
        text = _encode(_finite(value))
    return json_text(text)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not isfinite(value):
        return {inf: "Infinity", -inf: "-Infinity"}.get(value, "NaN")
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def _array(rows: Iterator[Any]) -> Iterator[str]:
    piece: list[str] = []
    separator = "[\n    "
    for row in rows:
        piece.append(separator + _text(row))
        separator = ",\n    "
        if len(piece) == _ROWS_A_PIECE:
            yield "".join(piece)
            piece.clear()
    yield "".join(piece)
    yield "[]" if separator == "[\n    " else "\n  ]"
