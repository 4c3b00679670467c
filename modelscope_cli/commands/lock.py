"""`mscope lock`: pin what was seen of models, and hold them against it."""

# No `from __future__ import annotations`: Typer evaluates signatures at run time.

from typing import Annotated

import typer

from modelscope_cli.errors import UsageError
from modelscope_cli.load import How
from modelscope_cli.locking.document import NAME
from modelscope_cli.options import Cached, From, Opening, Output, complete_model
from modelscope_cli.options import command as command_
from modelscope_cli.report import Report


@command_
def command(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            show_default=False,
            help="Folders, weight files, ORG/NAME[@REVISION], URLs; all of the lock by default.",
            autocompletion=complete_model,
        ),
    ] = None,
    *,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; exit 1 where a model is not as locked."),
    ] = False,
    lock: Annotated[str, typer.Option(metavar="FILE", help="The lock file.")] = NAME,
    headers: Annotated[
        bool,
        typer.Option(
            "--headers",
            help="Lock weight files by their headers alone: quick, blind to values.",
        ),
    ] = False,
    from_: From = None,
    cached: Cached = False,
    opening: Opening,
    output: Output,
) -> Report:
    """Pin models: revision, each file's size and hash, parameter totals; `--check` compares."""
    from modelscope_cli import pinning
    from modelscope_cli.locking import document
    from modelscope_cli.many import names, running
    from modelscope_cli.many.progress import Bar
    from modelscope_cli.reports.lock import Locked

    there = document.read(lock) if check else pinning.read_or_new(lock)
    wanted = names.gather(models or (), from_ or (), How(*opening), cached=cached)
    if not (models or from_ or cached):
        wanted = [names.Named(each, How(*opening)) for each in pinning.all_of(there)]
    if not wanted:
        raise UsageError("lock needs a MODEL", "mscope lock ./my-model   -   mscope lock --check")
    pinning.refuse_inside([each.model for each in wanted], lock)
    jobs = running.jobs_for(len(wanted), opening.jobs)
    asked = pinning.Asked(there, headers, 1 if jobs > 1 else opening.jobs, check)
    bar = Bar("locking", len(wanted))
    found = Locked(there, list(bar.over(pinning.look(wanted, asked, jobs))), check=check)
    if not check:
        found.write()
    return found.report()
