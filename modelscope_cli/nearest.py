"""The settings of a run: the nearest file, or the one named, that lies in none of its models."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from modelscope_cli import belonging, settings
from modelscope_cli.errors import MscopeError
from modelscope_cli.facts import Note


class Run:
    """The models of a run, as its command line names them."""

    def __init__(self, command: str, params: Mapping[str, Any]) -> None:
        self.command = command
        typed = [params.get("model"), params.get("diff"), *(params.get("models") or ())]
        self._models = [each for each in typed if each] + _listed(params.get("from_") or ())
        self._asked = any(params.get(name) for name in ("model", "models", "from_", "cached"))
        self._takes_lists = "from_" in params
        self._may_be_here = "model" in params and not params["model"]

    def nearest(self) -> settings.Settings:
        """The nearest file that lies in no model of this run, not in one that it names itself."""
        models = belonging.folders([*self._here(), *self._models])
        while True:
            found = settings.find(models)
            folders = belonging.folders(self.models_of(found))
            if found.path is None or not settings.is_foreign(found.path, folders):
                return _with_those_in([*models, *folders], found)
            models += folders

    def named(self, path: str) -> settings.Settings:
        """The settings of `--config`. Raises UsageError where that lies in a model of this run."""
        belonging.refuse(path, [*self._here(), *self._models], "--config")
        found = settings.read(path)
        belonging.refuse(path, self.models_of(found), "--config")
        return found

    def not_used(self, path: str) -> Note:
        """Why a file that was found is not taken."""
        text = f"{path}: not used: settings inside the model being looked at are never taken"
        if not settings.is_foreign(path, belonging.whole([*self._here(), *self._models])):
            text += ", nor those beside a file; if they are yours, --config names them"
        return Note(text)

    def models_of(self, found: settings.Settings) -> list[str]:
        """The models that settings name, where the command line names none."""
        if self._asked or found.path is None:
            return []
        values = found.for_command(self.command)
        lists = values.get("from") if self._takes_lists else None
        lists = [lists] if isinstance(lists, str) else lists
        model = values.get("model")
        models = [beside(found.path, model)] if isinstance(model, str) and model else []
        return models + _listed(lists if isinstance(lists, list) else ())

    def _here(self) -> list[str]:
        """The current folder, where it is the model because nobody has named one."""
        from modelscope_cli.load import holds_a_model

        return ["."] if self._may_be_here and holds_a_model(".") else []


def _listed(lists: Sequence[str]) -> list[str]:
    if not lists:
        return []
    from modelscope_cli.many import names  # 10 ms, only where a list is given

    return names.listed(lists)


def beside(path: str, model: str) -> str:
    """A path in a settings file starts from that file's folder, whatever the current one is."""
    from modelscope_cli import target

    folder = os.path.dirname(path)
    if model.startswith("~") or os.path.realpath(folder) == os.path.realpath("."):
        return model
    path_beside = os.path.join(folder, model.removeprefix("./"))
    try:
        parsed = target.parse(model)
    except MscopeError:
        return model  # whoever opens it says what is wrong
    may_be = isinstance(parsed, target.HubTarget) and parsed.may_be_path
    if isinstance(parsed, target.LocalTarget) or (may_be and os.path.lexists(path_beside)):
        return path_beside
    return model


def _with_those_in(models: list[str], found: settings.Settings) -> settings.Settings:
    """`found`, and among what is ignored the files that lie in the models themselves."""
    more = settings.lying_in(models, (*found.ignored, *([found.path] if found.path else [])))
    return found._replace(ignored=(*found.ignored, *more))
