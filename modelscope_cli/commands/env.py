"""`mscope env`: versions of torch, CUDA and the libraries around them, and what does not fit."""

# No `from __future__ import annotations`: Typer evaluates signatures at run time.

import os
from typing import Annotated

import typer

from modelscope_cli.environment import looking
from modelscope_cli.environment.problems import problems
from modelscope_cli.options import Output
from modelscope_cli.options import command as command_
from modelscope_cli.report import Report
from modelscope_cli.reports import env as reports


@command_
def command(
    python: Annotated[
        str | None,
        typer.Option(
            metavar="PYTHON",
            help="The interpreter, or the environment's folder, to look at. Without it: "
            "$VIRTUAL_ENV, else $CONDA_PREFIX, else the Python that mscope itself runs on.",
        ),
    ] = None,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="Also let that Python import torch and bitsandbytes, in a process of its own.",
        ),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 where something is wrong.")
    ] = False,
    *,
    output: Output,
) -> Report:
    """Look at a Python's packages, CUDA, driver and GPUs, and say what does not fit together."""
    seen = looking.look(python, os.environ, probing=probe)
    return reports.report(seen, problems(seen), check=check)
