"""Family P: where a model comes from, and what it brings along."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from modelscope_cli.analysis import licence
from modelscope_cli.analysis.licence import Licence
from modelscope_cli.audit.finding import WARNING, Flaw, Skip
from modelscope_cli.audit.policy import Policy
from modelscope_cli.audit.rule import Rule
from modelscope_cli.audit.subject import Subject
from modelscope_cli.errors import MscopeError, UsageError
from modelscope_cli.facts import ModelFacts
from modelscope_cli.sources.tree import FILE

_TOKENIZERS = (
    "tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json",
    "vocab.txt", "merges.txt", "tekken.json", "tokenizer_config.json",
)  # fmt: skip


def _at_the_top(subject: Subject) -> Mapping[str, str]:
    """Files directly in the model's folder: their paths by their names in small letters.

    Raises Skip for one file by itself: what lies beside it may be anyone's.
    """
    if subject.ref.kind == "file":
        raise Skip("one file by itself, no model's folder")
    return {e.path.lower(): e.path for e in subject.files if e.kind == FILE and "/" not in e.path}


def _not_there(subject: Subject, what: str) -> Flaw:
    """The flaw that a file is missing. Raises Skip where not every file was listed."""
    if subject.cut is not None:
        raise Skip(f"not all files are looked at: {subject.cut}")
    return Flaw(what)


def _stated(subject: Subject) -> Iterator[Licence]:
    """Licences that the model's files state, and the file that does: the card before the rest."""
    facts = subject.opened if isinstance(subject.opened, ModelFacts) else None
    names = _at_the_top(subject).values()
    return licence.stated(names, lambda path: _start(subject, path), facts)


def _start(subject: Subject, path: str) -> bytes:
    try:
        return subject.start(path, licence.MOST_BYTES)
    except MscopeError:  # a rule of its own says what cannot be read
        return b""


class LicenceStated(Rule):
    """The model says under which licence it is.

    Without one nothing allows its use. The model card, a GGUF's metadata, a licence text that is
    known here and the configuration are looked at.

    Remedy: ask the author; add `license:` to the front matter of README.md.
    """

    id = "P001"
    title = "a licence is stated"
    severity = WARNING

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Whether any file states one."""
        if next(_stated(subject), None) is None:
            yield Flaw("no file says under which licence the model is")


class LicenceAllowed(Rule):
    """The licence is one that the policy allows.

    Every licence that the model's files state must be: a card and a licence text that contradict
    each other are no permission.

    Remedy: have the licence looked at, and add it to `provenance.licences`.
    """

    id = "P002"
    title = "the licence is allowed"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Each licence that is stated against `provenance.licences`."""
        allowed = policy.provenance.licences
        if allowed is None:
            raise Skip("the policy sets no provenance.licences")
        stated = list(_stated(subject))
        if not stated:
            yield Flaw(f"no licence is stated; allowed: {', '.join(allowed)}")
        for name, file in stated:
            words = [word.strip().lower() for word in name.split(",")]
            if not all(any(fnmatch.fnmatchcase(w, glob) for glob in allowed) for w in words):
                yield Flaw(f"{file}: licence {name}; allowed: {', '.join(allowed)}", file)


class ModelCard(Rule):
    """The model has a model card.

    README.md is where the author says what the model is for, what it was trained on, and what
    it must not be used for.

    Remedy: write one; the Hub has a template.
    """

    id = "P003"
    title = "a model card is there"
    severity = WARNING

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Whether README.md is there and says anything."""
        cards = licence.cards(_at_the_top(subject).values())
        if not cards:
            yield Flaw("there is no README.md")
        elif subject.by_path[cards[0]].size == 0:
            yield Flaw(f"{cards[0]}: is empty", cards[0])


class Pinned(Rule):
    """The model is named by a commit.

    A branch or tag can be moved to other weights and other code by whoever owns the repo, between
    the audit and the use.

    Remedy: name it as ORG/NAME@COMMIT, and pin the same commit where the model is loaded.
    """

    id = "P004"
    title = "the revision is pinned"
    severity = WARNING

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Whether MODEL names a commit of 40 digits."""
        if subject.pinned is None:
            raise Skip("it has no revisions")
        if not subject.pinned:
            now = f"; it is {subject.ref.revision} now" if subject.ref.revision else ""
            yield Flaw(f"{subject.name}: names no commit{now}")


class RequiredFiles(Rule):
    """The files that the policy requires are there.

    Remedy: add the file, or take it off `provenance.files`.
    """

    id = "P005"
    title = "required files are there"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Each glob of `provenance.files` against the paths of the model's files."""
        if not policy.provenance.files:
            raise Skip("the policy sets no provenance.files")
        _at_the_top(subject)
        paths = [each.path for each in subject.files if each.kind == FILE]
        for glob in policy.provenance.files:
            if not any(fnmatch.fnmatchcase(path, glob) for path in paths):
                yield _not_there(subject, f"{glob}: is required and not there")


class Tokenizer(Rule):
    """A model of text brings its tokenizer.

    Without it the model cannot be used, or is used with the tokenizer of another one, which gives
    nonsense and no error.

    Remedy: add the tokenizer's files of the model that it was trained with.
    """

    id = "P006"
    title = "a tokenizer is there"
    severity = WARNING

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Whether any tokenizer's file is there, where the configuration has a vocabulary."""
        names = {path.rpartition("/")[2].lower() for path in subject.by_path}
        if subject.ref.kind == "file" or subject.facts.ref.format == "gguf":
            raise Skip("a GGUF or a single file holds its own tokenizer, or none")
        if "adapter_config.json" in names:
            raise Skip("an adapter uses the tokenizer of its base model")
        if not isinstance(subject.config.get("vocab_size"), int):
            raise Skip("its configuration has no vocabulary")
        if not names & set(_TOKENIZERS):
            what = "no tokenizer's file is there, and its configuration has a vocabulary"
            yield _not_there(subject, what)


class ConfigValues(Rule):
    """The configuration says what the policy requires.

    Remedy: correct the configuration, or `provenance.config`.
    """

    id = "P007"
    title = "required configuration values are set"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Each key of `provenance.config`: its value, or one of a list of values."""
        from modelscope_cli.analysis import config as configs

        wanted = policy.provenance.config
        if not wanted:
            raise Skip("the policy sets no provenance.config")
        file = subject.facts.config_file
        for key, value in configs.flat(wanted):
            allowed = value if isinstance(value, list) else [value]
            shown = " or ".join(json.dumps(each, default=str) for each in allowed)
            try:
                found = configs.value_at(subject.config, key)
            except UsageError:
                yield Flaw(f"{key} is not there; required: {shown}", file)
                continue
            if not any(_equal(found, each) for each in allowed):
                yield Flaw(f"{key} is {_short(found)}; required: {shown}", file)


def _equal(found: Any, wanted: Any) -> bool:
    """Equal as JSON, where true is not 1; a list of the configuration may hold it alone."""
    if isinstance(found, list) and not isinstance(wanted, list):
        return len(found) == 1 and _equal(found[0], wanted)
    return isinstance(found, bool) is isinstance(wanted, bool) and bool(found == wanted)


_LONGEST = 200


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


class OwnPolicy(Rule):
    """The model brings no settings or policy for the tool that audits it.

    They are never taken from inside a model, nor from beside a single file, by themselves: it
    would say itself what it is held to. If it is yours, it has no effect where it is.

    Remedy: move it to where the audit is run, above the model's folder. Beside a single file name
    it: `--config mscope.toml`.
    """

    id = "P008"
    title = "the model brings no policy of its own"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """`mscope.toml`, `[tool.mscope]` in a pyproject.toml, or a lock, anywhere in the model."""
        for path in subject.own_settings:
            yield Flaw(f"{path}: came with the model that is audited, or may have; not used", path)


RULES: tuple[type[Rule], ...] = (
    LicenceStated, LicenceAllowed, ModelCard, Pinned, RequiredFiles, Tokenizer, ConfigValues,
    OwnPolicy,
)  # fmt: skip
