"""A Typer command whose options also come from the environment and from a settings file."""

from __future__ import annotations

import os
import sys
from typing import Any

from typer.core import TyperCommand

from modelscope_cli import settings
from modelscope_cli.errors import UsageError
from modelscope_cli.escape import one_line

_NOT_SETTINGS = frozenset({"config", "isolated", "help"})


class SettingsCommand(TyperCommand):
    """Option > `MSCOPE_<OPTION>` > settings file > default, for every option alike."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for param in self.params:
            if param.param_type_name == "option" and param.envvar is None and param.name:
                param.envvar = f"MSCOPE_{param.name.upper()}"
                param.show_envvar = False  # type: ignore[attr-defined]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as Typer does, then fill what neither the line nor the environment gave."""
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            self._fill(ctx)
        return rest

    def _fill(self, ctx: Any) -> None:
        found = self._settings(ctx)
        values = found.for_command(self.name or "")
        for param in self.params:
            if param.name in _NOT_SETTINGS or param.name is None:
                continue
            origin = ctx.get_parameter_source(param.name).name
            if origin == "DEFAULT" and param.name in values:
                ctx.params[param.name] = self._typed(ctx, param, values[param.name], found)
                origin = found.path
            if ctx.params.get("verbose") and origin not in ("DEFAULT", "DEFAULT_MAP"):
                sys.stderr.write(_origin_line(param, ctx.params[param.name], origin))

    def _settings(self, ctx: Any) -> settings.Settings:
        if ctx.params.get("isolated"):
            return settings.Settings(None, {})
        if path := ctx.params.get("config"):
            found = settings.read(path)
        else:
            found = settings.find(os.getcwd(), _model_folder(ctx.params.get("model")))
        if found.table:
            settings.check_keys(found, _known_settings())
        if not ctx.params.get("quiet"):
            for ignored in found.ignored:
                sys.stderr.write(
                    f"mscope: note: {one_line(ignored)}: not used: "
                    "settings inside the model being looked at are never taken\n"
                )
        return found

    @staticmethod
    def _typed(ctx: Any, param: Any, value: Any, found: settings.Settings) -> Any:
        """A TOML value as the option would have it: through the same conversion and checks."""
        if isinstance(value, bool) and param.type.name != "boolean":
            raise UsageError(f"{found.path}: {param.name}: {value!r} is not what it takes")
        try:
            return param.process_value(
                ctx, value if isinstance(value, (list, bool)) else str(value)
            )
        except Exception as error:
            raise UsageError(f"{found.path}: {param.name}: {error}") from error


def _model_folder(model: str | None) -> str | None:
    """The folder that must not configure us: MODEL's, or the current one if it may be the model."""
    path = os.path.expanduser(model) if model else "."
    if os.path.isdir(path):
        return path if model or _holds_a_model(path) else None
    return os.path.dirname(path) or "." if os.path.exists(path) else None


def _holds_a_model(folder: str) -> bool:
    from modelscope_cli.load import holds_a_model

    return holds_a_model(folder)


def _known_settings() -> set[str]:
    """Every option of every command, and the commands' own tables."""
    from modelscope_cli.commands import COMMANDS

    names = {"audit", *COMMANDS}
    for row in COMMANDS.values():
        import inspect

        names |= set(inspect.signature(row.load()).parameters)
    return names - _NOT_SETTINGS


def _origin_line(param: Any, value: Any, origin: str) -> str:
    source = {
        "COMMANDLINE": "the command line",
        "ENVIRONMENT": f"the environment ({param.envvar})",
    }.get(origin, origin)
    return f"mscope: {param.name} = {one_line(str(value))} (from {source})\n"
