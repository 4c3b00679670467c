"""What the user typed to ModelFacts: target, source, files."""

from __future__ import annotations

import os
from typing import NamedTuple

from modelscope_cli import reading
from modelscope_cli import target as targets
from modelscope_cli.errors import NotFound, UsageError
from modelscope_cli.facts import ModelFacts, ModelRef, Note
from modelscope_cli.sources.local import LocalSource, not_readable

DEFAULT_BUILTIN = "huozi3"


class How(NamedTuple):
    """How a model is opened: the shared MODEL options."""

    revision: str | None = None
    weights: str | None = None
    cache_dir: str | None = None
    offline: bool = False
    refresh: bool = False


def open_model(
    model: str | None = None, how: How | None = None, *, want_tensors: bool = True
) -> ModelFacts:
    """Everything read about a model; without one, the current folder, else the built-in default.

    `want_tensors=False` leaves weights alone where a configuration says enough.
    Raises MscopeError subclasses: UsageError, NotFound, FormatError.
    """
    how = how or How()
    if model is None:
        if not holds_a_model("."):
            return _builtin(DEFAULT_BUILTIN, f"builtin:{DEFAULT_BUILTIN}", default=True)
        model = "."
    target = targets.parse(model, revision=how.revision)
    if isinstance(target, targets.HubTarget) and target.may_be_path and _exists(model):
        target = targets.LocalTarget(model)
    if isinstance(target, targets.BuiltinTarget):
        return _builtin(target.name, model, default=False)
    if isinstance(target, targets.LocalTarget):
        return _local(target.path, model, how, want_tensors)
    return _hub(target, how, want_tensors)


def holds_a_model(folder: str) -> bool:
    """Whether a folder on disk holds a model, by its file names."""
    try:
        return reading.holds_a_model(os.listdir(folder))
    except OSError:
        return False


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
    except (OSError, ValueError) as error:
        raise _missing(path, error) from error
    if "models--" in os.path.abspath(path) and (found := _inside_cache(path, typed)):
        return _read(found, None if is_folder else os.path.basename(path), how, want_tensors)
    if is_folder:
        ref = ModelRef(typed, "directory", path=os.path.abspath(path))
        return _read(LocalSource(path, ref), None, how, want_tensors)
    ref = ModelRef(typed, "file", path=os.path.abspath(path))
    folder, name = os.path.split(path)
    return _read(LocalSource(folder or ".", ref), name, how, want_tensors)


def _inside_cache(path: str, typed: str) -> LocalSource | None:
    from modelscope_cli.sources import hfcache

    return hfcache.within(path, typed)


def _missing(path: str, error: OSError | ValueError) -> NotFound:
    if isinstance(error, ValueError):
        return NotFound(f"{path!r}: not a path: {error}")
    return not_readable(path, error)


def _hub(target: targets.HubTarget, how: How, want_tensors: bool) -> ModelFacts:
    from modelscope_cli.sources import hfcache

    cache, note = hfcache.cache_dir(how.cache_dir)
    source, said = hfcache.open_snapshot(cache, target)
    facts = _read(source, target.file, how, want_tensors)
    notes: list[Note] = [each for each in (note, said) if each is not None]
    return facts if not notes else _with_notes(facts, notes)


def _with_notes(facts: ModelFacts, notes: list[Note]) -> ModelFacts:
    return facts._replace(notes=(*notes, *facts.notes))


def _read(source: LocalSource, name: str | None, how: How, want_tensors: bool) -> ModelFacts:
    if name is None:
        return reading.read_folder(source, how.weights, want_tensors=want_tensors)
    return reading.read_file(source, name, want_tensors=want_tensors)
