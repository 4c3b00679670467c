"""`mscope audit`: rules and a policy, for CI."""

# No `from __future__ import annotations`: Typer evaluates signatures at run time.

from typing import Annotated

import typer

from modelscope_cli.audit.finding import SEVERITIES
from modelscope_cli.errors import UsageError
from modelscope_cli.load import How
from modelscope_cli.options import Opening, Output, choice, complete_model
from modelscope_cli.options import command as command_
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
    opening: Opening,
    output: Output,
) -> Report:
    """Hold models against rules and a policy; exit 1 where one fails."""
    from modelscope_cli import auditing, policies
    from modelscope_cli.reports import audit as reports

    if list_ or explain is not None:
        return reports.of_rules() if explain is None else reports.of_rule(explain)
    if init:
        return policies.write_start()
    if not models:
        raise UsageError("audit needs a MODEL", "mscope audit ./my-model   -   mscope audit --list")
    asked = policies.Asked(policy, select, ignore, fail_on, strict=strict)
    found = policies.load(models, asked, output.config, isolated=output.isolated)
    audited = [auditing.audited(model, How(*opening), found) for model in models]
    return reports.Audit(audited, found.fail_on, exit_zero).report()
