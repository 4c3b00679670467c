"""Which folders belong to the models of a run: nothing in them says how these are looked at."""

from __future__ import annotations

import os
from collections.abc import Iterable

from modelscope_cli import settings
from modelscope_cli.errors import UsageError


def whole(models: Iterable[str]) -> list[str]:
    """The folders that are models themselves."""
    return [path for path in map(os.path.expanduser, models) if os.path.isdir(path)]


def folders(models: Iterable[str]) -> list[str]:
    """The same, and where single files lie, as they are named and where links lead.

    What lies beside a file may have come with it.
    """
    names = list(models)
    files = [path for path in map(os.path.expanduser, names) if os.path.isfile(path)]
    beside = [os.path.dirname(each) for path in files for each in (path, os.path.realpath(path))]
    return whole(names) + list(dict.fromkeys(folder or "." for folder in beside))


def refuse(path: str, models: Iterable[str], flag: str) -> None:
    """Refuse a file that was named and lies in a model that is a folder. Raises UsageError.

    Beside a single file it may lie: the model is that file, and somebody has named the other.
    """
    if settings.is_foreign(path, whole(models)):
        raise UsageError(
            f"{flag} {path}: lies in a model that is looked at: it has no say in that",
            "copy it elsewhere, and read it first",
        )
