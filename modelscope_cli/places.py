"""Where mscope's own files lie: those that come with it, and what it keeps from run to run."""

from __future__ import annotations

import os
from collections.abc import Mapping

_DATA = os.path.join(os.path.dirname(__file__), "data")


def data(*names: str) -> str:
    """A file that ships with the package, or a folder of them."""
    return os.path.join(_DATA, *names)


def kept(*names: str, environ: Mapping[str, str] | None = None) -> str:
    """Something below `$XDG_CACHE_HOME/mscope`, by default `~/.cache/mscope`."""
    base = (os.environ if environ is None else environ).get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # as the specification has it, a relative one counts for nothing
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "mscope", *names)
