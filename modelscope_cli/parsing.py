"""A Typer command whose options also come from the environment and from a settings file."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperCommand

from modelscope_cli import output, settings
from modelscope_cli.errors import UsageError
from modelscope_cli.escape import one_line
from modelscope_cli.nearest import Run, beside

# What changes the disk, or asks for another answer, is never a standing setting.
_TYPED_ONLY = frozenset({"fix", "yes", "init", "list_", "explain"})
_NOT_SETTINGS = frozenset({"config", "isolated", "help"}) | _TYPED_ONLY


class SettingsCommand(TyperCommand):
    """Option > `MSCOPE_<OPTION>` > settings file > default, for every option alike."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for param in self.params:
            if param.name in _TYPED_ONLY or not param.name:
                continue
            if param.param_type_name == "option" and param.envvar is None:
                param.envvar = f"MSCOPE_{_spelled(param.name).upper()}"
                param.show_envvar = False  # type: ignore[attr-defined]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as Typer does, then fill what neither the line nor the environment gave."""
        rest = super().parse_args(ctx, [_own_name(word, self.params) for word in args])
        if not ctx.resilient_parsing:
            self._fill(ctx)
        return rest

    def _fill(self, ctx: Any) -> None:
        if _key(ctx) == "audit":
            _take_model_of_environment(ctx.params)
        run = Run(_key(ctx), ctx.params)
        found = self._settings(ctx, run)
        origins = self._take(ctx, found)
        if run.command == "audit" and not _asked(ctx.params):
            ctx.params["models"] = run.models_of(found)
        _one_format(ctx, {param.name: origin for param, origin in origins})
        for path in found.ignored:
            output.say(run.not_used(path), quiet=ctx.params["quiet"])
        if ctx.params["verbose"]:
            for param, origin in origins:
                sys.stderr.write(_origin_line(param, ctx.params[param.name], origin))

    def _take(self, ctx: Any, found: settings.Settings) -> list[tuple[Any, str]]:
        """Fill in what the settings say; every option that is set, and where that came from."""
        values = found.for_command(_key(ctx))
        if _key(ctx) == "audit":
            values = {key: each for key, each in values.items() if key not in _policy_keys()}
        origins: list[tuple[Any, str]] = []
        for param in self.params:
            if param.name in _NOT_SETTINGS or param.name is None:
                continue
            origin = ctx.get_parameter_source(param.name).name
            if origin == "DEFAULT" and _spelled(param.name) in values:
                value = values[_spelled(param.name)]
                ctx.params[param.name] = _typed(ctx, param, value, found)
                origin = found.path or ""
            if origin not in ("DEFAULT", "DEFAULT_MAP"):
                origins.append((param, origin))
        return origins

    def _settings(self, ctx: Any, run: Run) -> settings.Settings:
        if ctx.params["isolated"]:
            return settings.Settings(None, {})
        path = ctx.params["config"]
        found = run.named(path) if path else run.nearest()
        if found.table:
            settings.check_keys(found, _known_settings())
        return found


# What vLLM's users type: taken, and not in the help.
_ALIASES = {
    "--max-model-len": "--context",
    "--batch-size": "--batch",
    "--kv-cache-dtype": "--kv-dtype",
}


def _own_name(word: str, params: list[Any]) -> str:
    """An option's own name for its hidden alias, where the command has that option."""
    flag, equals, value = word.partition("=")
    own = _ALIASES.get(flag)
    if own is None or not any(own in param.opts for param in params):
        return word
    return f"{own}{equals}{value}"


_STRENGTH = ("COMMANDLINE", "ENVIRONMENT")  # stronger than a settings file


def _one_format(ctx: Any, origins: Mapping[str, str]) -> None:
    """`--json` and `-f` say the same thing: the stronger source wins, equal ones must agree."""
    format_ = ctx.params["format"]
    if not ctx.params["json"] or "format" not in origins or format_ == "json":
        return
    for origin in (*_STRENGTH, origins["format"]):
        at = origins["format"] == origin, origins.get("json") == origin
        if all(at):
            raise UsageError(f"--json and -f {format_} ask for two formats", "give one of them")
        if any(at):
            ctx.params["json"] = at[1]
            return


def _typed(ctx: Any, param: Any, value: Any, found: settings.Settings) -> Any:
    """A TOML value as the option would have it: of its type, through the same checks."""
    place = f"{found.path}: {_spelled(param.name)}"
    if getattr(param, "multiple", False):
        value = [value] if isinstance(value, str) else value
        fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
        wanted = "a string or a list of strings"
    else:
        kind, wanted = _toml_type(param.type.name)
        if kind is str and type(value) is int and str(value) in (param.metavar or ""):
            value = str(value)  # bits = 4, of [4|8|16]
        fits = type(value) is kind
    if not fits:
        raise UsageError(f"{place} takes {wanted}, not {value!r}")
    try:
        value = param.process_value(ctx, value)
    except UsageError as error:
        raise UsageError(f"{found.path}: {error.message}", error.hint) from error
    except typer.TyperException as error:
        raise UsageError(f"{place}: {error.format_message()}") from error
    return beside(found.path or "", value) if param.name == "model" else value


def _toml_type(name: str) -> tuple[type, str]:
    """The Python type of the TOML value that an option of this Typer type takes."""
    if name.startswith("bool"):
        return bool, "true or false"
    return (int, "a whole number") if name.startswith("int") else (str, "a string")


def _asked(params: Mapping[str, Any]) -> bool:
    """Whether models were named in any of the ways of a command that takes many."""
    return any(params[name] for name in ("models", "from_", "cached"))


def _take_model_of_environment(params: dict[str, Any]) -> None:
    """`$MSCOPE_MODEL` stands for MODEL, also where several could be named: it is one name."""
    if not _asked(params) and (named := os.environ.get("MSCOPE_MODEL")):
        params["models"] = [named]


def _spelled(name: str) -> str:
    """An option as it is written: `from_` is `from`, which Python keeps for itself."""
    return name.rstrip("_")


def _key(ctx: Any) -> str:
    """The command's table in a settings file: `cache_ls` for `mscope cache ls`."""
    return "_".join(ctx.command_path.split()[1:])


def _known_settings() -> dict[str, set[str]]:
    """The options of every command."""
    import inspect

    from modelscope_cli.commands import COMMANDS

    known = {
        row.key: set(map(_spelled, set(inspect.signature(row.load()).parameters) - _NOT_SETTINGS))
        for row in COMMANDS.values()
    }
    return {**known, "audit": known["audit"] | _policy_keys() | {"model"}}


def _policy_keys() -> frozenset[str]:
    """Keys of `[audit]` that are the policy's: it checks and applies them itself."""
    from modelscope_cli.audit.policy_file import NAMES

    return NAMES


def _origin_line(param: Any, value: Any, origin: str) -> str:
    source = {
        "COMMANDLINE": "the command line",
        "ENVIRONMENT": f"the environment ({param.envvar})",
    }.get(origin, origin)
    return f"mscope: {_spelled(param.name)} = {one_line(str(value))} (from {one_line(source)})\n"
