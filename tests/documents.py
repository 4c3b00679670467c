"""JSON documents, held against the schema that ships for them."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from tests.running import ROOT

SCHEMAS = ROOT / "modelscope_cli" / "schemas"


def document(text: str) -> dict[str, Any]:
    """The document of `text`: ASCII, its schema named first and kept."""
    assert text.isascii()
    assert text.endswith("\n")
    found: dict[str, Any] = json.loads(text)
    assert next(iter(found)) == "schema"
    program, command, _ = found["schema"].split("/")
    assert program == "mscope"
    _validator(command).validate(found)
    return found


@cache
def _validator(command: str) -> Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{command}.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)
