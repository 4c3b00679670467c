"""JSON files beside the weights (config.json and its relatives), read as hostile text."""

from __future__ import annotations

import json
from typing import Any

from modelscope_cli.errors import FormatError
from modelscope_cli.formats.base import refuse_pointer
from modelscope_cli.sources.base import OpenFile

MAX_CONFIG_BYTES = 32_000_000  # the largest seen holds 400 kB
MAX_DEPTH = 64


class InvalidJson(FormatError):
    """The file is not JSON in UTF-8."""


class ConfigTooLarge(FormatError):
    """A JSON file too large to be a configuration."""


class NotAnObject(FormatError):
    """Valid JSON, but no object (or no list) where one belongs."""


class NestedTooDeep(FormatError):
    """Objects inside objects without end."""


def read_object(file: OpenFile) -> dict[str, Any]:
    """The object in a JSON file. `NaN` and `Infinity` come out as those words."""
    value = read_value(file)
    if not isinstance(value, dict):
        raise NotAnObject(file.path, f"holds a JSON {_type_name(value)}, not an object")
    return value


def read_value(file: OpenFile) -> Any:
    """Any JSON value in a file, bounded in size and depth."""
    if file.size > MAX_CONFIG_BYTES:
        raise ConfigTooLarge(file.path, f"{file.size:,} bytes are too many for a configuration")
    raw = file.read_at(0, file.size)
    try:
        value = json.loads(raw.decode("utf-8-sig"), parse_constant=str)
    except UnicodeDecodeError as error:
        raise InvalidJson(file.path, "is not UTF-8", offset=error.start) from error
    except json.JSONDecodeError as error:
        refuse_pointer(file.path, raw)
        where = f"line {error.lineno}, column {error.colno}"
        raise InvalidJson(file.path, f"is not valid JSON: {error.msg} ({where})") from error
    except RecursionError as error:
        raise NestedTooDeep(file.path, "is nested too deep") from error
    except ValueError as error:
        raise InvalidJson(file.path, f"is not valid JSON: {error}") from error
    if _deeper_than(value, MAX_DEPTH):
        raise NestedTooDeep(file.path, f"is nested deeper than {MAX_DEPTH} levels")
    return value


def _type_name(value: object) -> str:
    names = {list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _deeper_than(value: object, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True
