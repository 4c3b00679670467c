"""`mscope audit`: rules and a policy, for CI."""

# No `from __future__ import annotations`: Typer evaluates signatures at run time.

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated

import typer

from modelscope_cli.audit.engine import Audited
from modelscope_cli.audit.finding import SEVERITIES
from modelscope_cli.audit.policy_file import Policies
from modelscope_cli.errors import MscopeError, UsageError
from modelscope_cli.facts import ModelRef
from modelscope_cli.load import How
from modelscope_cli.locking.document import NAME as LOCK
from modelscope_cli.locking.facts import Lock
from modelscope_cli.many.names import Named
from modelscope_cli.options import Cached, ChecksOutput, From, Opening, choice, complete_model
from modelscope_cli.options import command as command_
from modelscope_cli.render import RENDERERS
from modelscope_cli.report import Report

RULES_PANEL = "Which rules"


@command_
def command(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...",
            show_default=False,
            help="Folders, weight files, ORG/NAME[@REVISION], URLs.",
            autocompletion=complete_model,
        ),
    ] = None,
    *,
    select: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE", help="Only these IDs or families: F001, S.", rich_help_panel=RULES_PANEL
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE", help="Not these IDs or families.", rich_help_panel=RULES_PANEL
        ),
    ] = None,
    fail_on: Annotated[
        str | None,
        choice(
            "--fail-on",
            names=SEVERITIES,
            help="Exit 1 from this severity on; error by default.",
            panel=RULES_PANEL,
        ),
    ] = None,
    exit_zero: Annotated[
        bool,
        typer.Option("--exit-zero", help="Exit 0 whatever is found.", rich_help_panel=RULES_PANEL),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="A rule that needs what is not installed fails.",
            rich_help_panel=RULES_PANEL,
        ),
    ] = False,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Take the policy from this file.", rich_help_panel=RULES_PANEL
        ),
    ] = None,
    init: Annotated[
        bool,
        typer.Option(
            "--init",
            help="Write a commented mscope.toml to start from.",
            rich_help_panel=RULES_PANEL,
        ),
    ] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="List every rule.", rich_help_panel=RULES_PANEL)
    ] = False,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="Say why a rule is there, and what to do.",
            rich_help_panel=RULES_PANEL,
        ),
    ] = None,
    locked: Annotated[
        bool,
        typer.Option(
            "--locked", help="Also hold each against mscope.lock.", rich_help_panel=RULES_PANEL
        ),
    ] = False,
    lock: Annotated[
        str, typer.Option(metavar="FILE", help="The lock file.", rich_help_panel=RULES_PANEL)
    ] = LOCK,
    from_: From = None,
    cached: Cached = False,
    opening: Opening,
    output: ChecksOutput,
) -> Report:
    """Hold models against rules and a policy; exit 1 where one fails."""
    from modelscope_cli import policies
    from modelscope_cli.many import names
    from modelscope_cli.reports import audit as reports

    if list_ or explain is not None:
        return reports.of_rules() if explain is None else reports.of_rule(explain)
    if init:
        return policies.write_start()
    named = names.gather(models or (), from_ or (), How(*opening), cached=cached)
    if not named:
        raise UsageError("audit needs a MODEL", "mscope audit ./my-model   -   mscope audit --list")
    targets = [each.model for each in named]
    asked = policies.Asked(policy, _each(select), _each(ignore), fail_on, strict=strict)
    found = policies.load(targets, asked, output.config, isolated=output.isolated)
    pinned = _lock(targets, lock) if locked else None
    streamed = output.destination().format == "jsonl"
    audited = list(_audited(named, found, pinned, opening.jobs, streamed=streamed))
    _refuse_alone(audited, output)
    return reports.Audit(audited, found.fail_on, exit_zero, streamed).report()


def _refuse_alone(audited: Sequence[Audited], output: ChecksOutput) -> None:
    """One model that cannot be looked at is an error as elsewhere, unless CI wants its report."""
    wanted = output.output or RENDERERS[output.destination().format].of_checks
    if len(audited) == 1 and audited[0].error is not None and not wanted:
        raise audited[0].error


def _lock(targets: Sequence[str], path: str) -> Lock:
    from modelscope_cli import pinning
    from modelscope_cli.locking import document

    pinning.refuse_inside(targets, path)
    return document.read(path)


def _audited(
    named: Sequence[Named],
    policies: Policies,
    lock: Lock | None,
    jobs: int | None,
    *,
    streamed: bool,
) -> Iterator[Audited]:
    """Every model, several at once; `streamed`: each one's findings are printed as it comes."""
    from modelscope_cli import output as writing
    from modelscope_cli.audit import engine
    from modelscope_cli.many import running
    from modelscope_cli.many.progress import Bar
    from modelscope_cli.render.json import line
    from modelscope_cli.reports.audit import records

    at_once = running.jobs_for(len(named), jobs)
    if at_once > 1:  # the processes are for models, no longer for the files of one
        engine.get_ready(policies.usual())
        named = [each._replace(how=each.how._replace(jobs=1)) for each in named]
    results = running.each(partial(_audit, policies, lock), named, at_once, _lost)
    for audited in Bar("auditing", len(named)).over(results):
        if streamed:
            writing.write("".join(map(line, records(audited))))
        yield audited


def _audit(policies: Policies, lock: Lock | None, named: Named) -> Audited:
    from modelscope_cli import auditing

    return auditing.audited(named.model, named.how, policies, lock)


def _lost(named: Named, why: str) -> Audited:
    return Audited(ModelRef(named.model, "directory"), error=MscopeError(why))


def _each(typed: list[str] | None) -> list[str] | None:
    """`--select F,S` is `--select F --select S`."""
    if typed is None:
        return None
    return [name for text in typed for part in text.split(",") if (name := part.strip())]
