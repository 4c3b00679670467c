"""A Typer command whose options also come from the environment and from a settings file."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperCommand

from modelscope_cli import output, settings
from modelscope_cli.errors import MscopeError, UsageError
from modelscope_cli.escape import one_line
from modelscope_cli.facts import Note

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
                param.envvar = f"MSCOPE_{param.name.upper()}"
                param.show_envvar = False  # type: ignore[attr-defined]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as Typer does, then fill what neither the line nor the environment gave."""
        rest = super().parse_args(ctx, [_own_name(word, self.params) for word in args])
        if not ctx.resilient_parsing:
            self._fill(ctx)
        return rest

    def _fill(self, ctx: Any) -> None:
        found = self._settings(ctx)
        values = found.for_command(_key(ctx))
        if _key(ctx) == "audit":
            values = {key: each for key, each in values.items() if key not in _policy_keys()}
        origins: list[tuple[Any, str]] = []
        for param in self.params:
            if param.name in _NOT_SETTINGS or param.name is None:
                continue
            origin = ctx.get_parameter_source(param.name).name
            if origin == "DEFAULT" and param.name in values:
                ctx.params[param.name] = _typed(ctx, param, values[param.name], found)
                origin = found.path or ""
            if origin not in ("DEFAULT", "DEFAULT_MAP"):
                origins.append((param, origin))
        _one_format(ctx, {param.name: origin for param, origin in origins})
        for path in found.ignored:
            text = f"{path}: not used: settings inside the model being looked at are never taken"
            output.say(Note(text), quiet=ctx.params["quiet"])
        if ctx.params["verbose"]:
            for param, origin in origins:
                sys.stderr.write(_origin_line(param, ctx.params[param.name], origin))

    def _settings(self, ctx: Any) -> settings.Settings:
        if ctx.params["isolated"]:
            return settings.Settings(None, {})
        path = ctx.params["config"]
        found = settings.read(path) if path else self._nearest(ctx)
        if found.table:
            settings.check_keys(found, _known_settings())
        return found

    def _nearest(self, ctx: Any) -> settings.Settings:
        """The nearest file that lies in no model of this run, not in one that it names itself."""
        typed = ctx.params.get("model")
        others = [ctx.params.get("diff"), *(ctx.params.get("models") or ())]
        models = [folder for each in others if each for folder in _folders(each)]
        if "model" in ctx.params:
            models = _folders(typed) + models
        while True:
            found = settings.find(models)
            named = found.for_command(_key(ctx)).get("model")
            if typed or found.path is None or not isinstance(named, str):
                return _with_those_in(models, found)
            folders = _folders(_beside(found.path, named))
            if not settings.inside(os.path.dirname(found.path), folders):
                return _with_those_in([*models, *folders], found)
            models += folders


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


def _with_those_in(models: list[str], found: settings.Settings) -> settings.Settings:
    """`found`, and among what is ignored the files that lie in the models themselves."""
    more = settings.lying_in(models, (*found.ignored, *([found.path] if found.path else [])))
    return found._replace(ignored=(*found.ignored, *more))


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
    place = f"{found.path}: {param.name}"
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
    return _beside(found.path or "", value) if param.name == "model" else value


def _toml_type(name: str) -> tuple[type, str]:
    """The Python type of the TOML value that an option of this Typer type takes."""
    if name.startswith("bool"):
        return bool, "true or false"
    return (int, "a whole number") if name.startswith("int") else (str, "a string")


def _beside(path: str, model: str) -> str:
    """A path in a settings file starts from that file's folder, whatever the current one is."""
    from modelscope_cli import target

    folder = os.path.dirname(path)
    if model.startswith("~") or os.path.realpath(folder) == os.path.realpath("."):
        return model
    beside = os.path.join(folder, model.removeprefix("./"))
    try:
        parsed = target.parse(model)
    except MscopeError:
        return model  # whoever opens it says what is wrong
    may_be = isinstance(parsed, target.HubTarget) and parsed.may_be_path
    if isinstance(parsed, target.LocalTarget) or (may_be and os.path.lexists(beside)):
        return beside
    return model


def _folders(model: str | None) -> list[str]:
    """The folders that must not configure us: MODEL's, or the current one if it is the model."""
    from modelscope_cli.load import holds_a_model

    if model is None:
        return ["."] if holds_a_model(".") else []
    path = os.path.expanduser(model)
    if os.path.isdir(path):
        return [path]
    if not os.path.exists(path):
        return []
    return [os.path.dirname(path) or ".", os.path.dirname(os.path.realpath(path))]


def _key(ctx: Any) -> str:
    """The command's table in a settings file: `cache_ls` for `mscope cache ls`."""
    return "_".join(ctx.command_path.split()[1:])


def _known_settings() -> dict[str, set[str]]:
    """The options of every command."""
    import inspect

    from modelscope_cli.commands import COMMANDS

    known = {
        row.key: set(inspect.signature(row.load()).parameters) - _NOT_SETTINGS
        for row in COMMANDS.values()
    }
    return {**known, "audit": known["audit"] | _policy_keys()}


def _policy_keys() -> frozenset[str]:
    """Keys of `[audit]` that are the policy's: it checks and applies them itself."""
    from modelscope_cli.audit.policy_file import NAMES

    return NAMES


def _origin_line(param: Any, value: Any, origin: str) -> str:
    source = {
        "COMMANDLINE": "the command line",
        "ENVIRONMENT": f"the environment ({param.envvar})",
    }.get(origin, origin)
    return f"mscope: {param.name} = {one_line(str(value))} (from {one_line(source)})\n"
