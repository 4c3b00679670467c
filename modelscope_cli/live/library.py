"""torch and transformers as this program uses them: quiet, offline, running nobody's code."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any, NamedTuple

from modelscope_cli.errors import MissingExtra


class Libraries(NamedTuple):
    """The two modules that everything here asks."""

    torch: Any
    transformers: Any

    @property
    def name(self) -> str:
        """As sentences call it."""
        return f"transformers {self.transformers.__version__}"


def load(what: str) -> Libraries:
    """Import both. `what` needs them ("--exact builds the class"). Raises MissingExtra."""
    try:
        with nothing_remote():
            import torch
            import transformers
    except ImportError as error:
        raise MissingExtra(f"{what}, which is not installed", "live") from error
    transformers.logging.set_verbosity_error()  # its warnings quote the file's strings as they are
    transformers.logging.disable_progress_bar()
    return Libraries(torch, transformers)


@contextmanager
def nothing_remote() -> Iterator[None]:
    """Keep libraries from fetching code or files while they are imported and build classes.

    A configuration may name a backbone or a kernel of the Hub; on some CPUs bitsandbytes asks it
    for a faster multiplication through the `kernels` package. Nothing here needs either.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    hidden = "kernels" not in sys.modules
    before = os.environ.get("HF_HUB_OFFLINE")
    offline = _hub_constant()
    os.environ["HF_HUB_OFFLINE"] = "1"
    _set_hub_constant(True)
    if hidden:
        sys.modules["kernels"] = None  # type: ignore[assignment]  # importing it now fails
    try:
        yield
    finally:
        if hidden:
            del sys.modules["kernels"]
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before
        _set_hub_constant(_is_true(before) if offline is None else offline)


def _hub_constant() -> bool | None:
    """Whether the Hub's library is offline: it asks the environment once, when imported."""
    constants = sys.modules.get("huggingface_hub.constants")
    return None if constants is None else bool(constants.HF_HUB_OFFLINE)


def _set_hub_constant(value: bool) -> None:
    constants: Any = sys.modules.get("huggingface_hub.constants")
    if constants is not None:
        constants.HF_HUB_OFFLINE = value


def _is_true(value: str | None) -> bool:
    return (value or "").upper() in ("1", "ON", "YES", "TRUE")


@contextmanager
def quiet() -> Iterator[None]:
    """Libraries' warnings and progress bars say nothing of the model; its strings are in them."""
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def first_line(error: BaseException) -> str:
    """`ValueError: what it says`, cut to a line that fits in a sentence."""
    text = " ".join(str(error).split()) or "no message"
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return f"{type(error).__name__}: {short}"


_LONGEST = 200
