"""Bounds on work that a configuration asks of the libraries: it may claim any size."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

MOST_PARAMETERS = 200_000  # and modules; DeepSeek-V3 registers 2,123, at about 2 kB each
LARGEST_SIZE = 10**9  # of a number in a configuration that sizes something
SECONDS = 120.0


class TooMuch(Exception):
    """The work was stopped; the message says at what."""


@contextmanager
def time_limit(seconds: float = SECONDS) -> Iterator[None]:
    """Raise TooMuch inside after that time. Only in the main thread of a Unix; Ctrl-C stays."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(_signal: int, _frame: Any) -> None:
        raise TooMuch(f"not done after {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    left = signal.setitimer(signal.ITIMER_REAL, seconds)[0]
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def parameter_limit(torch: Any, most: int = MOST_PARAMETERS) -> Iterator[None]:
    """Raise TooMuch where a class registers more parameters than any model has."""
    count = 0
    end = time.monotonic() + SECONDS

    def registered(_module: Any, _name: str, _value: Any) -> None:
        nonlocal count
        count += 1
        if count > most:
            raise TooMuch(f"stopped at {most:,} parameters and modules")
        if count % 1000 == 0 and time.monotonic() > end:
            raise TooMuch(f"not done after {SECONDS:g} seconds")

    hooks = (
        torch.nn.modules.module.register_module_parameter_registration_hook(registered),
        torch.nn.modules.module.register_module_module_registration_hook(registered),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def oversized(config: Mapping[str, Any], depth: int = 0) -> str | None:
    """The first key whose number no class can be built with; None where all are sane."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            inside = oversized(value, depth + 1) if depth < _DEEPEST else "nesting"
            if inside is not None:
                return f"{key}.{inside}"
        elif _sizes(key) and isinstance(value, int) and abs(value) > LARGEST_SIZE:
            return str(key)
    return None


_DEEPEST = 20


def _sizes(key: object) -> bool:
    """Token counts such as tokenizers' 10^30 for "no limit" size nothing."""
    return key not in ("model_max_length", "max_length")
