"""The table of commands. Adding one is a file here, a line in this table, and its test."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple


class Command(NamedTuple):
    """One command: its name, the one line `--help` shows, and what stands below its options.

    A name of two words, `cache ls`, is a command of the group that its first word names.
    """

    name: str
    help: str
    epilog: str

    @property
    def key(self) -> str:
        """The name as one word: of the module, and of its table in a settings file."""
        return self.name.replace(" ", "_")

    def load(self) -> Callable[..., Any]:
        """Import the command's module, only when it is the one asked for."""
        module = importlib.import_module(f"modelscope_cli.commands.{self.key}")
        function: Callable[..., Any] = module.command
        return function


COMMANDS = {
    row.name: row
    for row in (
        Command(
            "info",
            "One card: type, size, dtypes, layers, context, licence, memory, where it lies.",
            "mscope info   -   mscope info ./model   -   mscope info ORG/NAME --json",
        ),
        Command(
            "params",
            "Named parameters and buffers: name, dtype, shape, elements, bytes, file.",
            "mscope params ./model | grep layers.17   -   mscope params ORG/NAME --by module",
        ),
        Command(
            "config",
            "The configuration, nested ones included.",
            "mscope config ./model --get rope_scaling.factor   -   mscope config A --diff B",
        ),
        Command(
            "memory",
            "GPU memory: weights as they are loaded, KV cache, activations, per card.",
            "mscope memory ./model --bits 4   -   mscope memory ORG/NAME --gpus 2x24GiB --check",
        ),
        Command(
            "pack",
            "Packing arithmetic of 4-bit and other quantized weights, both ways.",
            "mscope pack --shape 4096x14336   -   mscope pack --stored 29360128x1 MODEL",
        ),
        Command(
            "audit",
            "Rules and a policy for CI: files, safety, cache, limits, provenance.",
            "mscope audit ./model   -   mscope audit ORG/NAME --fail-on warning   -   --list",
        ),
        Command(
            "lock",
            "Pin what was seen of models: revision, files by hash, totals; --check compares.",
            "mscope lock ./model ORG/NAME   -   mscope lock --check",
        ),
        Command(
            "cache ls",
            "Repos in the HF cache: revisions, sizes, last use, what is broken or left over.",
            "mscope cache ls   -   mscope cache ls --cache-dir /mnt/hub --json",
        ),
        Command(
            "cache show",
            "Where each file of a snapshot lies: its links, hop by hop, to the bytes.",
            "mscope cache show ORG/NAME config.json   -   mscope cache show ./hub/models--a--b",
        ),
        Command(
            "cache verify",
            "Whether files hold what was downloaded, told offline from the names of their blobs.",
            "mscope cache verify ORG/NAME   -   mscope cache verify --all --jobs 2",
        ),
        Command(
            "cache doctor",
            "What is wrong in the whole cache, in seconds, and what mends it.",
            "mscope cache doctor   -   mscope cache doctor --fix --keep ./changed",
        ),
        Command(
            "env",
            "torch, CUDA, driver, GPUs and libraries, and what does not fit together.",
            "mscope env   -   mscope env --python ./.venv --probe --check",
        ),
    )
}
GROUPS = {"cache": "Look through the HF cache: list, show, verify and mend it."}
