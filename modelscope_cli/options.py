"""The options that commands share, each defined once, and how a command takes them in."""

# No `from __future__ import annotations`: Typer and the groups below need real annotations.

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import typer

from modelscope_cli import output as writing
from modelscope_cli.errors import UsageError, did_you_mean
from modelscope_cli.output import Destination
from modelscope_cli.render import FORMATS, RENDERERS
from modelscope_cli.report import Report
from modelscope_cli.units import UNITS

MODEL_PANEL = "Which model"
OUTPUT_PANEL = "Output"
COLORS = ("auto", "always", "never")


def choice(*flags: str, names: Sequence[str], help: str, panel: str | None = None) -> Any:
    """An option that takes one of `names`: shown in help, completed, near names suggested."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    def one_of(value: str | None) -> str | None:
        if value is None or value in names:
            return value
        raise UsageError(
            f"{flags[0]}: {value!r} is not one of {', '.join(names)}", did_you_mean(value, names)
        )

    return typer.Option(
        *flags,
        metavar=f"[{'|'.join(names)}]",
        help=help,
        rich_help_panel=panel,
        autocompletion=complete,
        callback=one_of,
    )


def complete_model(incomplete: str) -> list[str]:
    """Completions of MODEL: the built-ins, and the repos in the HF cache. Files are the shell's."""
    from modelscope_cli.sources import builtin
    from modelscope_cli.sources.hfcache import source as hfcache

    names = [f"builtin:{name}" for name in builtin.NAMES]
    with_cache = names + hfcache.cached_ids(hfcache.cache_dir()[0])
    return [name for name in with_cache if name.startswith(incomplete)]


Model = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        envvar="MSCOPE_MODEL",
        show_envvar=False,
        show_default=False,
        help="A folder, a weight file, ORG/NAME[@REVISION], a URL, or builtin:NAME.",
        autocompletion=complete_model,
    ),
]


CachedName = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        envvar="MSCOPE_MODEL",
        show_envvar=False,
        show_default=False,
        help="ORG/NAME[@REVISION], a URL, or a path inside a cache.",
        autocompletion=complete_model,
    ),
]
Revision = Annotated[
    str | None,
    typer.Option(
        metavar="REV", help="Branch, tag, refs/pr/N or commit.", rich_help_panel=MODEL_PANEL
    ),
]
CacheDir = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        help="The HF cache: its hub folder, or an HF_HOME.",
        rich_help_panel=MODEL_PANEL,
    ),
]
From = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="Models from a file, one a line; - is stdin.",
        rich_help_panel=MODEL_PANEL,
    ),
]
Cached = Annotated[
    bool,
    typer.Option("--cached", help="Every snapshot in the HF cache.", rich_help_panel=MODEL_PANEL),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        min=1,
        help="How many files or models are read at once.",
        rich_help_panel=MODEL_PANEL,
    ),
]


class Opening(NamedTuple):
    """How MODEL is opened."""

    revision: Revision = None
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="GLOB",
            help="Which weight files, where there are several sets.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None
    cache_dir: CacheDir = None
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Never use the network.", rich_help_panel=MODEL_PANEL),
    ] = False
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh",
            help="Ask the Hub although the cache could answer.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = False
    jobs: Jobs = None


class CachePlace(NamedTuple):
    """Which cache the cache commands look at."""

    cache_dir: CacheDir = None


class CachedModel(NamedTuple):
    """Which snapshot of MODEL a cache command looks at."""

    revision: Revision = None
    cache_dir: CacheDir = None


class Output(NamedTuple):
    """Where and how the answer is written."""

    format: Annotated[
        str,
        choice("--format", "-f", names=FORMATS, help="stdout's format.", panel=OUTPUT_PANEL),
    ] = "table"
    json: Annotated[
        bool, typer.Option("--json", help="The same as -f json.", rich_help_panel=OUTPUT_PANEL)
    ] = False
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Also write FILE, in its ending's format; may be repeated.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None
    units: Annotated[
        str,
        choice("--units", names=UNITS, help="How sizes are written.", panel=OUTPUT_PANEL),
    ] = "iec"
    color: Annotated[
        str,
        choice("--color", names=COLORS, help="Colour; NO_COLOR is respected.", panel=OUTPUT_PANEL),
    ] = "auto"
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", "-q", help="No notes; warnings stay.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = False
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Also say where each setting came from.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Read settings from this TOML file only.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None
    isolated: Annotated[
        bool,
        typer.Option("--isolated", help="Read no settings file.", rich_help_panel=OUTPUT_PANEL),
    ] = False

    def destination(self) -> Destination:
        """The part of these options that the writer needs."""
        format_ = "json" if self.json else self.format
        return Destination(format_, self.output or (), self.units, self.color, self.quiet)


class ChecksOutput(Output):
    """The same where models are held against rules: formats of CI services come to the others."""

    format: Annotated[
        str,
        choice(
            "--format", "-f", names=tuple(RENDERERS), help="stdout's format.", panel=OUTPUT_PANEL
        ),
    ]


class Answer(NamedTuple):
    """What a command hands back to `main`: what to say, and where; never over `looked_at`."""

    report: Report
    output: Output
    looked_at: Sequence[str | None] = ()


def command(function: Callable[..., Report]) -> Callable[..., Answer]:
    """Let a function of own options plus groups, `Output` among them, be a Typer command.

    A group is a named tuple of options. Typer sees every one of them flat; the function gets each
    group as one value.
    """
    own: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if hasattr(parameter.annotation, "_fields"):
            groups[parameter.name] = parameter.annotation
        else:
            own.append(parameter)
    flat = own + [option for group in groups.values() for option in _options(group)]

    def run(**values: Any) -> Answer:
        taken = {
            name: group(**{field: values.pop(field) for field in group._fields})
            for name, group in groups.items()
        }
        output: Output = next(group for group in taken.values() if isinstance(group, Output))
        writing.check(output.destination(), of_checks=isinstance(output, ChecksOutput))
        report = function(**values, **taken)
        looked_at = _looked_at(report, values, taken.values()) if output.output else ()
        return Answer(report, output, looked_at)

    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in flat}
    return run


def _looked_at(
    report: Report, values: Mapping[str, Any], groups: Iterable[Any]
) -> list[str | None]:
    """Where the models of a report lie: what was opened, and any path that was typed."""
    typed = [values.get(name) for name in ("model", "diff")] + list(values.get("models") or ())
    one = report.model is not None or values.get("models")
    opened = [report.model.path if report.model else None] if one else _caches(groups)
    if report.checks is not None:  # models may have been named in a list
        opened += [each.model.path for each in report.checks().models]
    return [*opened, *(os.path.expanduser(text) for text in typed if text)]


def _caches(groups: Iterable[Any]) -> list[str | None]:
    """The HF cache, where a command looks at the whole of it."""
    from modelscope_cli.sources.hfcache import source as hfcache

    return [
        hfcache.cache_dir(group.cache_dir)[0] for group in groups if hasattr(group, "cache_dir")
    ]


def _annotation(group: Any, field: str) -> Any:
    """Of a field, as the class or the one that it extends has it."""
    own = (getattr(each, "__annotations__", {}) for each in group.__mro__)
    return next(each[field] for each in own if field in each)


def _options(group: Any) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            field,
            inspect.Parameter.KEYWORD_ONLY,
            default=group._field_defaults[field],
            annotation=_annotation(group, field),
        )
        for field in group._fields
    ]
