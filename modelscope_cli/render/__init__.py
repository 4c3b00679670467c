"""The renderers, one a file, and the table that names them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

Render = Callable[..., Iterator[str]]


class Renderer(NamedTuple):
    """One output format: its name, where it is rendered, and the file endings that mean it."""

    name: str
    module: str
    function: str
    endings: tuple[str, ...]
    folds: bool = False  # folded unless --no-fold: formats for people away from a shell
    of_checks: bool = False  # for CI services: only what `audit` reports can be written so

    def load(self) -> Render:
        """Import the module only when its format is asked for."""
        module = importlib.import_module(f"modelscope_cli.render.{self.module}")
        return cast("Render", getattr(module, self.function))


RENDERERS = {
    row.name: row
    for row in (
        Renderer("table", "plain", "render", (".txt",)),
        Renderer("json", "json", "render", (".json",)),
        Renderer("jsonl", "jsonl", "render", (".jsonl", ".ndjson")),
        Renderer("csv", "delimited", "render_csv", (".csv",)),
        Renderer("tsv", "delimited", "render_tsv", (".tsv",)),
        Renderer("md", "markdown", "render", (".md", ".markdown"), folds=True),
        Renderer("junit", "junit", "render", (".xml",), of_checks=True),
        Renderer("sarif", "sarif", "render", (".sarif",), of_checks=True),
        Renderer("github", "github", "render", (), of_checks=True),
    )
}
FORMATS = tuple(name for name, row in RENDERERS.items() if not row.of_checks)  # of any report
ENDINGS = {ending: row for row in RENDERERS.values() for ending in row.endings}
