"""The floors that a program built on Typer and rich cannot pass: the same, doing nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer


def empty_help(commands: int) -> None:
    """An empty Typer program with that many commands, asked for its help."""
    app = typer.Typer(add_completion=False)
    for number in range(commands):
        app.command(f"command{number}", help="A command that does nothing.")(_nothing())
    app(["--help"])


def empty_table(rows: int) -> None:
    """A Typer program of one command that prints a rich table of that many rows."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def show(count: Annotated[int, typer.Argument()] = rows) -> None:
        from rich.console import Console
        from rich.table import Table

        table = Table("name", "dtype", "shape", "elements", "bytes")
        for number in range(count):
            table.add_row(f"layer.{number}.weight", "F32", "[384, 384]", "147,456", "589,824")
        Console().print(table)

    app([])


def _nothing() -> Callable[[], None]:
    def nothing() -> None:
        return

    return nothing


if __name__ == "__main__":
    {"help": empty_help, "table": empty_table}[sys.argv[1]](int(sys.argv[2]))
