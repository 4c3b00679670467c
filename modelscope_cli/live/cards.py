"""Asks this machine's nvidia-smi for its GPUs."""

from __future__ import annotations

import os

from modelscope_cli.analysis.memory.cards import smi
from modelscope_cli.analysis.memory.cards.devices import Cards
from modelscope_cli.errors import UsageError

_SECONDS = 10  # a driver that wakes its cards takes 2 to 5


def here() -> Cards:
    """The free memory of the GPUs that CUDA would see. Raises UsageError where there are none."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES")
    return smi.cards(smi.visible(smi.read(_asked()), devices))


def _asked() -> str:
    import subprocess  # 5 ms, for this alone

    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            smi.QUERY, capture_output=True, timeout=_SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise UsageError(
            "--gpus auto: no GPU is visible here: there is no nvidia-smi", "name the cards: 4x80GiB"
        ) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"--gpus auto: no GPU is visible here: nvidia-smi gives no answer: {error}",
            "name the cards: 4x80GiB",
        ) from error
    return done.stdout.decode("utf-8", "replace")
