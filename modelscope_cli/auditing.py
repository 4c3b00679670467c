"""A MODEL opened for the audit: what was read of it, all its files, and what can still be asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from modelscope_cli import load, settings
from modelscope_cli import target as targets
from modelscope_cli.analysis.cache.facts import Repo
from modelscope_cli.analysis.cache.verdicts import Verdict
from modelscope_cli.audit import engine
from modelscope_cli.audit.engine import Audited
from modelscope_cli.audit.finding import Skip
from modelscope_cli.audit.policy_file import Policies
from modelscope_cli.audit.subject import Subject
from modelscope_cli.errors import FormatError, MscopeError, NotFound
from modelscope_cli.facts import ModelFacts, ModelRef, Unknown
from modelscope_cli.formats import weight_sets
from modelscope_cli.hub_names import is_commit
from modelscope_cli.load import How
from modelscope_cli.locking.document import NAME as LOCK
from modelscope_cli.locking.facts import Lock
from modelscope_cli.sources import tree
from modelscope_cli.sources.hfcache import source as hfcache
from modelscope_cli.sources.hfcache.reaching import places
from modelscope_cli.sources.local import LocalSource
from modelscope_cli.sources.tree import Entry, Listing
from modelscope_cli.target import BuiltinTarget, HubTarget, LocalTarget, Target

_TELLING = (settings.OWN_FILE, LOCK)  # by their names alone


@contextmanager
def subject(model: str, how: How) -> Iterator[Subject]:
    """One model for the rules. A defect of it is no error here, it is theirs to judge.

    A branch is looked up at the Hub, where that may be asked: what is audited is what it is now.
    Raises NotFound, UsageError and NetworkTrouble for a model that is not there to be looked at.
    """
    target = _target(model, how)
    if _on_a_branch(target) and how.may_ask:
        how = how._replace(refresh=True)
    opened = _opened(model, how)
    ref = opened.ref if isinstance(opened, ModelFacts) else _ref(model, target, how, opened)
    if ref.kind == "hub":
        with _remote(ref, how) as found:
            yield found(opened, _pinned(target, ref), _verify(ref, how))
        return
    yield _local(ref, opened, _pinned(target, ref), _verify(ref, how))


def audited(model: str, how: How, policies: Policies, lock: Lock | None = None) -> Audited:
    """One model against its policy, and its lock where that is asked for.

    A model that is not there is an error beside the findings.
    """
    try:
        with subject(model, how) as found:
            found.lock = lock
            found.own_settings = _not_taken(found, policies.path)
            return engine.audit(found, policies.of(found.ref))
    except MscopeError as error:
        return Audited(ModelRef(model, "directory"), error=error)


def _not_taken(found: Subject, policy: str | None) -> Sequence[str]:
    """Settings in or beside a model, without the file that somebody has named."""
    if policy is None or found.ref.path is None:
        return found.own_settings
    folder, named = os.path.dirname(found.ref.path), os.path.realpath(policy)
    own = found.own_settings
    return [each for each in own if os.path.realpath(os.path.join(folder, each)) != named]


def _target(model: str, how: How) -> Target:
    target = targets.parse(model, revision=how.revision, endpoint=os.environ.get("HF_ENDPOINT"))
    may_be_path = isinstance(target, HubTarget) and target.may_be_path
    return LocalTarget(model) if may_be_path and _exists(model) else target


def _exists(model: str) -> bool:
    return os.path.lexists(os.path.expanduser(model))


def _on_a_branch(target: Target) -> bool:
    return isinstance(target, HubTarget) and not is_commit(target.revision or "")


def _opened(model: str, how: How) -> ModelFacts | MscopeError:
    try:
        return load.open_model(model, how)
    except (FormatError, NotFound) as error:
        return error


def _ref(model: str, target: Target, how: How, error: MscopeError) -> ModelRef:
    """Which model it was that could not be read. Raises the error where it is not there at all."""
    ref = _place(model, target, how)
    if ref is None:
        if isinstance(target, HubTarget) and isinstance(error, FormatError):
            return ModelRef(model, "hub", id=target.id, revision=target.revision)
        raise error
    if isinstance(error, NotFound) and not _promises_weights(ref):
        raise error
    return ref


def _place(model: str, target: Target, how: How) -> ModelRef | None:
    """Where on this disk a model lies, whatever is wrong with it."""
    if isinstance(target, BuiltinTarget):
        return None
    if isinstance(target, HubTarget):
        try:
            cache = hfcache.cache_dir(how.cache_dir)[0]
            return hfcache.open_snapshot(cache, target, model).source.ref
        except MscopeError:
            return None
    path = os.path.expanduser(target.path)
    if not os.path.lexists(path):
        return None
    found = hfcache.within(path, model)
    if found is not None:
        return found.source.ref
    kind = "directory" if os.path.isdir(path) else "file"
    return ModelRef(model, kind, path=os.path.abspath(path))


def _promises_weights(ref: ModelRef) -> bool:
    """Whether there are names of weights, so that what is missing is the model's own fault."""
    path = ref.path or ""
    names = [os.path.basename(path)]
    if os.path.isdir(path):
        names = [each.path for each in tree.walk(path).entries]
    by_folder: dict[str, list[str]] = {}
    for name in names:
        folder, _, last = name.rpartition("/")
        by_folder.setdefault(folder, []).append(last)
    return any(map(weight_sets.find, by_folder.values()))


def _pinned(target: Target, ref: ModelRef) -> bool | None:
    """Whether the model was named by its commit; None where it has no revisions."""
    if isinstance(target, HubTarget):
        return is_commit(target.revision or "")
    if ref.kind == "cache" and isinstance(target, LocalTarget) and ref.revision:
        spelled = os.path.expanduser(target.path)
        return any(ref.revision in place.split(os.sep) for place in places(spelled))
    return None


Verify = Callable[[], Sequence[Verdict]] | Unknown


def _local(
    ref: ModelRef, opened: ModelFacts | MscopeError, pinned: bool | None, verify: Verify
) -> Subject:
    """A model on this disk, or built in."""
    if ref.path is None:
        return Subject(ref, opened, Unknown("it is built in: there are no files"), verify=verify)
    if not os.path.isdir(ref.path):
        return _file(ref, opened, pinned, verify)
    homes: list[str] = []
    if ref.kind == "cache":
        repo = _repo_folder(ref.path)
        homes = [repo, os.path.join(os.path.dirname(repo), "blobs")]
    listing = tree.walk(ref.path, homes)
    own = [each.path for each in listing.entries if _says_how(ref.path, each.path)]
    return Subject(
        ref, opened, listing, LocalSource(ref.path, ref),
        pinned=pinned, verify=verify, own_settings=own,
    )  # fmt: skip


def _says_how(folder: str, path: str) -> bool:
    """Whether a file of a model would be taken elsewhere: settings with the policy, or a lock.

    Those deeper in it would be met on the way up, by who looks at the model from inside.
    """
    name = os.path.basename(path)
    if name in (settings.OWN_FILE, settings.SHARED_FILE):
        return settings.would_be_used(os.path.join(folder, path))
    return name == LOCK


def _repo_folder(path: str) -> str:
    """`…/models--org--name` of a path in it."""
    while path and not os.path.basename(path).startswith(hfcache.PREFIX):
        path = os.path.dirname(path) if os.path.dirname(path) != path else ""
    return path


def _file(
    ref: ModelRef, opened: ModelFacts | MscopeError, pinned: bool | None, verify: Verify
) -> Subject:
    """One file, or the files of a set that it stands for: nothing else there is the model's."""
    folder, name = os.path.split(ref.path or "")
    names = {name}
    if isinstance(opened, ModelFacts):
        names |= {file.path for file in opened.files}
    entries = [each for each in tree.walk(folder).entries if each.path in names]
    own = [os.path.relpath(path, folder) for path in settings.lying_in(_around(folder), [])]
    return Subject(
        ref, opened, Listing(tuple(entries)), LocalSource(folder, ref),
        pinned=pinned, verify=verify, own_settings=own,
    )  # fmt: skip


def _around(folder: str) -> list[str]:
    """Where settings beside a file are met: in its folder, and on the way there from below."""
    here = os.path.realpath(os.curdir)
    inner = [each for each in settings.upward(here) if settings.inside(each, [folder])]
    return [folder, *inner]


def _verify(ref: ModelRef, how: How) -> Verify:
    """How to hold a model's files against what was downloaded; Unknown where nothing says that."""
    if ref.kind == "cache" and ref.path is not None:
        return lambda: _verdicts(ref.path or "", None, how)
    if ref.kind == "hub" and ref.id is not None:
        return lambda: _verdicts(f"hf://{ref.id}", ref.revision, how)
    return Unknown("it is in no HF cache: nothing says what its files should hold")


def _verdicts(model: str, commit: str | None, how: How) -> list[Verdict]:
    from modelscope_cli import verifying
    from modelscope_cli.analysis.cache import expected
    from modelscope_cli.sources.hfcache import layout as cache_layout
    from modelscope_cli.sources.hfcache.where import locate

    try:
        where = locate(model, commit, how.cache_dir)
    except NotFound as error:
        raise Skip(error.message) from error
    repo = cache_layout.read_repo(where.folder)
    snapshots = [each for each in repo.snapshots if each.commit == where.commit]
    computed = verifying.Hasher(how.jobs).hash(expected.of_snapshots(repo, snapshots))
    judge = verifying.judge(repo, computed)
    found = [verdict for each in snapshots for verdict in judge.snapshot(each)]
    return [*found, *judge.leftovers(), *_untold(repo)]


def _untold(repo: Repo) -> Iterator[Verdict]:
    """That nobody knows which blobs are orphaned, where a snapshot could not be seen."""
    from modelscope_cli.analysis.cache import expected

    orphans = expected.orphans(repo)
    if isinstance(orphans, Unknown):
        note = f"whether blobs are orphaned is not known: {orphans.reason}"
        yield Verdict(
            repo.id, None, None, "*", (), None, None, None, None, "unverifiable", note,
            repo.folder,
        )  # fmt: skip


@contextmanager
def _remote(ref: ModelRef, how: How) -> Iterator[Callable[..., Subject]]:
    """A model on the Hub, whose files are read where a rule asks for them."""
    from modelscope_cli import hub_model

    with hub_model.reopened(ref, how) as source:
        files = source.repo.files
        entries = [Entry(path, each.size, hash=each.oid) for path, each in sorted(files.items())]
        yield lambda opened, pinned, verify: Subject(
            source.ref, opened, Listing(tuple(entries)), source, pinned=pinned, verify=verify,
            own_settings=[path for path in files if os.path.basename(path) in _TELLING],
        )  # fmt: skip
