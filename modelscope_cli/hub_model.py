"""A model named by its id: the HF cache answers first, then what we kept, then the Hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_cli import choosing
from modelscope_cli.errors import (
    MissingShard,
    MscopeError,
    NetworkTrouble,
    NotFound,
    UsageError,
    did_you_mean,
)
from modelscope_cli.facts import ModelFacts, ModelRef, Note, Unknown
from modelscope_cli.hub_names import is_commit
from modelscope_cli.opening import How, read
from modelscope_cli.sources.hfcache import source as hfcache
from modelscope_cli.sources.hfcache.repo import CachedRepo, age, download, some
from modelscope_cli.sources.local import LocalSource
from modelscope_cli.target import HubTarget

if TYPE_CHECKING:
    from modelscope_cli.sources.hfcache.source import Snapshot
    from modelscope_cli.sources.hub.source import HubRepo, HubSource
    from modelscope_cli.sources.hub.store import Store
    from modelscope_cli.sources.listed import ListedSource


MAX_CHOICES = 64  # files that are opened where each alternative is asked for


class Sought(NamedTuple):
    """A model that is looked for."""

    target: HubTarget
    typed: str
    how: How
    want_tensors: bool
    cache: str  # the hub folder of the HF cache

    @property
    def revision(self) -> str:
        """The revision that is asked for."""
        return self.target.revision or "main"


def open_model(target: HubTarget, typed: str, how: How, want_tensors: bool) -> ModelFacts:
    """Read a model by its id. Raises NotFound, NetworkTrouble, UsageError and FormatError."""
    if how.refresh and not how.may_ask:
        raise UsageError(
            f"{typed}: --refresh asks the Hub, and the network is switched off",
            "by --offline or HF_HUB_OFFLINE",
        )
    cache, note = hfcache.cache_dir(how.cache_dir)
    sought = Sought(target, typed, how, want_tensors, cache)
    facts = _from_the_hub(sought, None) if how.refresh else _cache_first(sought)
    return _with_notes(facts, [note] if note else [])


def _cache_first(sought: Sought) -> ModelFacts:
    target = sought.target
    try:
        found = hfcache.open_snapshot(sought.cache, target, sought.typed)
    except NotFound as error:
        here = os.path.expanduser(target.id)
        if target.may_be_path and os.path.exists(here):
            raise _not_inside(target, sought.typed) from error
        return _from_the_hub(sought, error)
    if found.note is not None:
        found = found._replace(note=Note(f"{found.note.text}; --refresh asks the Hub"))
    try:
        facts = from_cache(found, target, sought.how, sought.want_tensors)
    except (NotFound, UsageError) as error:
        return _from_the_hub(sought, error)
    if sought.how.may_ask and _lacks_something(found, facts, sought):
        return _from_the_hub(sought, None)
    return facts


def _not_inside(target: HubTarget, typed: str) -> NotFound:
    """The error for a file, type or revision of a folder that is here and lacks it."""
    what = f"{typed}: there is no such file"
    if target.quant is not None:
        hint = f"{target.id} is here: --weights '*{target.quant}*' chooses in a folder"
        return NotFound(what, hint)
    if target.file is None:
        return NotFound(what, f"{target.id} is here, and has no revisions")
    folder, name = os.path.split(os.path.join(os.path.expanduser(target.id), target.file))
    try:
        return NotFound(what, did_you_mean(name, os.listdir(folder)))
    except OSError:
        return NotFound(what)


def from_cache(found: Snapshot, asked: HubTarget, how: How, want_tensors: bool) -> ModelFacts:
    """Read a snapshot: what it lacks was not downloaded, and that is no defect of a file."""
    from modelscope_cli.sources.hfcache import content as hfcache_content

    repo_id = found.source.ref.id or asked.id
    try:
        facts = read(found.source, found.file, asked.quant, how, want_tensors)
    except MissingShard as error:
        raise NotFound(
            f"{repo_id}: its weights are not all in the HF cache: {error.message}",
            download(repo_id, asked.revision),
        ) from error
    if want_tensors and found.file is None and isinstance(facts.tensors, Unknown):
        raise NotFound(
            f"{repo_id}: its weights are not in the HF cache", download(repo_id, asked.revision)
        )
    changed = hfcache_content.changed_documents(found.source)
    return _with_notes(facts, [*([found.note] if found.note else []), *changed])


def _with_notes(facts: ModelFacts, notes: list[Note]) -> ModelFacts:
    return facts._replace(notes=(*notes, *facts.notes))


def _lacks_something(found: Snapshot, facts: ModelFacts, sought: Sought) -> bool:
    """Whether the snapshot is known to be only part of what the command needs."""
    if found.file is not None:
        return False
    if facts.config_file == "model_index.json" and facts.config is not None:
        folders = set(found.source.folders())
        if any(_is_part(part) and name not in folders for name, part in facts.config.items()):
            return True
    if not sought.want_tensors and facts.config is None and not facts.components:
        return facts.ref.format != "gguf"
    tree = hfcache.listed(found)
    return tree is not None and any(_is_missing(found, path) for path in _needed(tree, sought))


def _is_part(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value)


def _needed(tree: ListedSource, sought: Sought) -> Iterator[str]:
    """What is read beside the weights that were found: documents, and the parts' weights."""
    from modelscope_cli import foresight

    wanted = foresight.of_folder(
        tree, sought.how.weights, sought.target.quant, want_tensors=sought.want_tensors
    )
    paths = (each.path for each in wanted)
    return (path for path in paths if "/" in path or path in foresight.DOCUMENTS)


def _is_missing(found: Snapshot, path: str) -> bool:
    return not os.path.lexists(os.path.join(found.source.root, *path.split("/")))


def _from_the_hub(sought: Sought, why: MscopeError | None) -> ModelFacts:
    """Read from the Hub; `why` is what the HF cache lacked, the answer where nobody may ask."""
    from modelscope_cli.sources.hub.errors import NoSuchRepo
    from modelscope_cli.sources.hub.session import Offline, Session
    from modelscope_cli.sources.hub.source import HubRepo

    session = Session(offline=not sought.how.may_ask)
    repo = HubRepo(session, sought.target.id, sought.revision, jobs=sought.how.jobs)
    done = False
    try:
        notes = _find_commit(repo, sought)
        facts = _read_when_settled(repo, sought)
        done = True
    except Offline as error:
        raise _nobody_asks(why or error) from error
    except NoSuchRepo as error:
        raise _near_names(error, sought, repo.store) from error
    except NetworkTrouble as error:
        raise _with_what_is_here(error, why, sought, repo.store) from error
    finally:
        repo.close(keep=done)
    return _with_notes(facts, notes)


@contextmanager
def reopened(ref: ModelRef, how: How) -> Iterator[HubSource]:
    """A model that was read from the Hub, at the same commit, to read more of its files.

    Nothing is asked about what is kept of it. Raises NotFound and NetworkTrouble.
    """
    from modelscope_cli.sources.hub.session import Session
    from modelscope_cli.sources.hub.source import Guesses, HubRepo, HubSource

    session = Session(offline=not how.may_ask)
    repo = HubRepo(session, ref.id or "", ref.revision or "main", jobs=how.jobs)
    try:
        if not (is_commit(repo.revision) and repo.recall(repo.revision)):
            repo.ask(Guesses())
            repo.settle()
        yield HubSource(repo, ref._replace(revision=repo.commit))
    finally:
        repo.close(keep=bool(repo.commit))


def _read_when_settled(repo: HubRepo, sought: Sought) -> ModelFacts:
    """Read the commit taken for granted while the Hub is asked; another one where it has moved."""
    found: ModelFacts | MscopeError | None = None
    if repo.commit:
        try:
            found = _read_repo(repo, sought)
        except MscopeError as error:
            found = error
    if not repo.settle() or found is None:
        return _read_repo(repo, sought)
    if isinstance(found, MscopeError):
        raise found
    return found


def _nobody_asks(error: MscopeError) -> MscopeError:
    """What is not here, with the reason why the Hub is not asked for it."""
    reason = "the network is switched off (--offline or HF_HUB_OFFLINE)"
    error.hint = f"{error.hint}; {reason}" if error.hint else reason
    return error


def _find_commit(repo: HubRepo, sought: Sought) -> list[Note]:
    """Settle on a commit, or ask for it: of one that is kept, nothing else need be asked.

    Raises NotFound.
    """
    from modelscope_cli import foresight
    from modelscope_cli.sources.hub.source import MAIN, Guesses

    revision, target, how = sought.revision, sought.target, sought.how
    if is_commit(revision) and not how.refresh and repo.recall(revision):
        return []
    if not how.may_ask:
        return _remembered(repo, revision)
    known = repo.store.ref(repo.id, revision)
    if repo.recall(revision if known is None else known.commit):
        repo.ask(Guesses())
        return []
    chosen = target.quant is not None or how.weights is not None
    extents = foresight.guesses(target.file, chosen=chosen, want_tensors=sought.want_tensors)
    whole = target.file is None and not chosen and sought.want_tensors
    repo.ask(Guesses(extents, all_headers=whole and revision == MAIN))
    return []


def _remembered(repo: HubRepo, revision: str) -> list[Note]:
    """What a revision was when the Hub was last asked. Raises Offline."""
    from modelscope_cli.sources.hub.session import Offline

    known = repo.store.ref(repo.id, revision)
    fits = [commit for commit in repo.store.commits(repo.id) if commit.startswith(revision)]
    if known is not None and repo.recall(known.commit):
        text = f"{revision} = {known.commit[:7]}, asked {age(known.asked)}; the Hub is not asked"
        return [Note(text)]
    if len(revision) >= _LEAST_COMMIT and len(fits) == 1 and repo.recall(fits[0]):
        return []
    raise Offline(f"{repo.id}: nothing of {revision} was read from the Hub before")


_LEAST_COMMIT = 4


def _use_snapshot(repo: HubRepo, sought: Sought) -> None:
    """Let the HF cache's snapshot of this very commit give what it holds."""
    folder = os.path.join(sought.cache, hfcache.folder_name(repo.id))
    snapshot = CachedRepo(folder, repo.id).snapshot(repo.commit)
    if os.path.isdir(snapshot):
        repo.local = LocalSource(snapshot, ModelRef(sought.typed, "hub"))


def _read_repo(repo: HubRepo, sought: Sought) -> ModelFacts:
    from modelscope_cli import foresight

    _use_snapshot(repo, sought)
    source, name = _place(repo, sought)
    quant, weights = sought.target.quant, sought.how.weights
    if name is not None:
        source.expect(foresight.of_file(source, name, want_tensors=sought.want_tensors))
    else:
        if quant is None and weights is None and (sets := choosing.several_ggufs(source)):
            return _each(source, sets) if sought.how.each else _listed(source, sets)
        source.expect(foresight.of_folder(source, weights, quant, want_tensors=sought.want_tensors))
    return read(source, name, quant, sought.how, sought.want_tensors)


def _each(source: HubSource, sets: choosing.Chosen) -> ModelFacts:
    """The headers of all alternatives."""
    from modelscope_cli import foresight, reading

    opened, notes = choosing.first_files(sets, MAX_CHOICES)
    source.expect(foresight.of_sets(source, opened))
    return _with_notes(reading.read_sets(source, opened, None), list(notes))


def _listed(source: HubSource, sets: choosing.Chosen) -> ModelFacts:
    """A repo of alternatives: each would be read in vain but for the one that is wanted."""
    choices = tuple(choosing.choice(place, weights) for place, weights in sets)
    return ModelFacts(
        source.ref._replace(format="gguf", files=sum(each.files for each in choices)),
        Unknown(
            f"{len(choices)} GGUF files to choose from: {source.repo.id}:TYPE or --weights GLOB"
        ),
        choices=choices,
    )


def _place(repo: HubRepo, sought: Sought) -> tuple[HubSource, str | None]:
    """The folder to read, and the file where one is meant. Raises NotFound."""
    from modelscope_cli.sources.hub.source import HubSource

    ref = ModelRef(sought.typed, "hub", id=repo.id, revision=repo.commit)
    file = sought.target.file
    if file is None:
        return HubSource(repo, ref), None
    if file in repo.files:
        folder, _, name = file.rpartition("/")
        return HubSource(repo, ref, folder), name
    if any(path.startswith(f"{file}/") for path in repo.files):
        return HubSource(repo, ref, file), None
    raise NotFound(
        f"{repo.id} has no file {file} at {repo.commit[:7]}", did_you_mean(file, repo.files)
    )


def _near_names(error: NotFound, sought: Sought, store: Store) -> NotFound:
    """The Hub's refusal, with models of nearly that name that were looked at before."""
    target = sought.target
    known = sorted({*hfcache.cached_ids(sought.cache), *store.ids()} - {target.id})
    near = hfcache.near(target.id, known)
    if target.may_be_path:
        error.message = f"{error.message}; there is no file or folder of that name here either"
    error.hint = "; ".join(filter(None, (near, error.hint))) or None
    return error


def _with_what_is_here(
    error: NetworkTrouble, why: MscopeError | None, sought: Sought, store: Store
) -> NetworkTrouble:
    """The network's failure, with what could be answered without it."""
    target, revision = sought.target, sought.revision
    known = store.ref(target.id, revision)
    held = CachedRepo(os.path.join(sought.cache, hfcache.folder_name(target.id)), target.id).held()
    hints = [error.hint]
    if known is not None and known.commit in store.commits(target.id):
        when = f"{revision} = {known.commit[:7]}, asked {age(known.asked)}"
        hints.append(f"--offline answers with what was read of {when}")
    if held:
        hints.append(f"the HF cache holds {some(held)}")
    if why is not None:
        hints.append(why.message)
    elif held and sought.how.refresh:
        hints.append("it answers without --refresh")
    error.hint = "; ".join(filter(None, hints)) or None
    return error
