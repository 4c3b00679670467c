"""What the user typed to ModelFacts: target, source, files."""

from __future__ import annotations

import os

from modelscope_cli import opening, reading
from modelscope_cli import target as targets
from modelscope_cli.errors import MscopeError, UsageError
from modelscope_cli.facts import ModelFacts, ModelRef
from modelscope_cli.opening import How
from modelscope_cli.sources.hfcache.reaching import places
from modelscope_cli.sources.local import LocalFile, LocalSource, missing, not_readable

__all__ = ["How", "holds_a_model", "open_model"]

DEFAULT_BUILTIN = "huozi3"


def open_model(
    model: str | None = None, how: How | None = None, *, want_tensors: bool = True
) -> ModelFacts:
    """Everything read about a model; without one, the current folder, else the built-in default.

    `want_tensors=False` leaves weights alone where a configuration says enough.
    Raises MscopeError subclasses: UsageError, NotFound, FormatError.
    """
    how = how or How()
    default = model is None and not _current_folder_holds_one()
    if model is None:
        model = f"builtin:{DEFAULT_BUILTIN}" if default else "."
    target = targets.parse(model, revision=how.revision, endpoint=os.environ.get("HF_ENDPOINT"))
    if isinstance(target, targets.HubTarget) and target.may_be_path and _exists(model):
        target = targets.LocalTarget(model)
    if isinstance(target, targets.BuiltinTarget):
        return _builtin(target.name, model, default=default)
    if isinstance(target, targets.LocalTarget):
        return _local(target.path, model, how, want_tensors)
    from modelscope_cli import hub_model  # what it needs takes 5 ms, no model on disk does

    return hub_model.open_model(target, model, how, want_tensors)


def holds_a_model(folder: str) -> bool:
    """Whether a folder on disk holds a model, by its file names and what a config.json says."""
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    if reading.holds_a_model([name for name in names if name != "config.json"]):
        return True
    return "config.json" in names and _configures_a_model(os.path.join(folder, "config.json"))


def _configures_a_model(path: str) -> bool:
    """Whether a config.json is a model's: many programs have a file of that name."""
    try:
        with LocalFile(path, path) as file:
            start = file.read_at(0, min(file.size, _CONFIG_START))
    except MscopeError:
        return False
    return any(key in start for key in _MODEL_KEYS)


_CONFIG_START = 1_000_000  # bytes
_MODEL_KEYS = (b'"model_type"', b'"architectures"', b'"_class_name"', b'"quantization_config"')


def _current_folder_holds_one() -> bool:
    """Raises NotFound where that cannot be told: the default would hide it."""
    try:
        os.listdir(".")
    except FileNotFoundError:  # the current folder was removed
        return False
    except OSError as error:
        raise not_readable(".", error) from error
    return holds_a_model(".")


def _exists(text: str) -> bool:
    return os.path.lexists(os.path.expanduser(text))


def _builtin(name: str, typed: str, *, default: bool) -> ModelFacts:
    from modelscope_cli.sources import builtin

    return builtin.load(name, target=typed, default=default)


def _local(path: str, typed: str, how: How, want_tensors: bool) -> ModelFacts:
    path = os.path.expanduser(path)
    if how.revision is not None:
        raise UsageError(f"{typed} is a path on this machine: --revision is for Hub repos")
    try:
        is_folder = os.path.isdir(path)
        if not is_folder:
            os.stat(path)
    except OSError as error:
        raise missing(path, error) from error
    if any("models--" in place for place in places(path)):
        from modelscope_cli import hub_model
        from modelscope_cli.sources.hfcache import source as hfcache

        if (found := hfcache.within(path, typed)) is not None:
            # A note says that a branch was looked up; without one the path names a commit.
            revision = None if found.note else found.source.ref.revision
            return hub_model.from_cache(found, targets.HubTarget("", revision), how, want_tensors)
    folder, name = (path, None) if is_folder else os.path.split(path)
    kind = "directory" if is_folder else "file"
    source = LocalSource(folder or ".", ModelRef(typed, kind, path=os.path.abspath(path)))
    return opening.read(source, name, None, how, want_tensors)
