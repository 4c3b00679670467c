"""Family S: what could run code, or reach beyond the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from modelscope_cli.audit import code
from modelscope_cli.audit.finding import ERROR, NOTE, WARNING, Flaw, Skip
from modelscope_cli.audit.pickles import DANGEROUS, UNKNOWN, Named, foreign, verdicts
from modelscope_cli.audit.policy import Policy
from modelscope_cli.audit.rule import Rule
from modelscope_cli.audit.subject import Subject
from modelscope_cli.errors import MissingExtra
from modelscope_cli.formats.containers.names import promises
from modelscope_cli.formats.containers.search import Pickle
from modelscope_cli.formats.pickles.walk import some_of
from modelscope_cli.units import counted

MOST_NAMES = 100  # of one file: more say the same


class NoPickles(Rule):
    """No file is a pickle, or holds one.

    A pickle is a program: loading it calls what it names, and `torch.load` is only as safe as
    the version and the arguments it is called with. safetensors holds numbers and nothing else.
    An error where the file's name promises something else, and hides it from who looks at names.

    Remedy: save the weights as safetensors, and leave the pickles out.
    """

    id = "S001"
    title = "no file is a pickle or holds one"
    severity = WARNING

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """One flaw a file."""
        for path, found in subject.pickles.items():
            if found.pickles:
                hidden = not promises(path)
                yield Flaw(_what(found.pickles, hidden), path, severity=ERROR if hidden else None)
        _no_more(subject)


class NoDangerousGlobals(Rule):
    """No pickle names what runs commands, opens files or the network, or loads other pickles.

    Loading such a file does what its author wanted. A scanner (`modelscope-cli[scan]`) knows
    which names these are; what tensors need, as torch's `weights_only` has it, is never one.

    Remedy: do not load the file; report it to whoever published it, and use safetensors.
    """

    id = "S002"
    title = "no pickle names dangerous globals"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """One flaw a name and file. Raises MissingExtra where there are names and no scanner."""
        for path, named, verdict in _judged(subject):
            if verdict == DANGEROUS:
                yield Flaw(f"names {named.shown}{_place(named)}: dangerous to load", path)
        _no_more(subject)


class NoUnknownGlobals(Rule):
    """No pickle names what nobody vouches for.

    Loading it imports and calls these. They may be harmless classes of a library, or a way to
    run anything: what is not known to be safe is not called safe. Without a scanner
    (`modelscope-cli[scan]`) that is every name that tensors do not need.

    Remedy: save plain tensors, best as safetensors; or look at what is named, and ignore this
    rule for that model with the reason.
    """

    id = "S003"
    title = "no pickle names unknown globals"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """One flaw a name and file."""
        try:
            judged = list(_judged(subject))
            said = "nothing is known of it"
        except MissingExtra:
            judged = [(path, named, UNKNOWN) for path, named in _foreign(subject)]
            said = "no scanner is installed to judge it"
        for path, named, verdict in judged:
            if verdict == UNKNOWN:
                yield Flaw(f"names {named.shown}{_place(named)}: {said}", path)
        _no_more(subject)


class AllLookedInto(Rule):
    """Every file was looked at, every pickle followed to its end, every archive looked into.

    What was not looked at may hold anything: a 7z archive, an encrypted one, one that unpacks
    to gigabytes, a pickle larger than any of tensors, or files beyond the first 20,000. `.git`
    of a checkout is left out, with a note.

    Remedy: unpack the file, or save it anew, and audit that.
    """

    id = "S004"
    title = "every pickle and archive could be looked into"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """One flaw a place."""
        for path, found in subject.pickles.items():
            yield from (Flaw(f"not looked into: {why}", path) for why in found.unseen)
        if subject.cut is not None:
            yield Flaw(f"not all files are looked at: {subject.cut}")
        for path in subject.passed_over:
            yield Flaw("not looked into: what version control keeps", path, severity=NOTE)


class NoRemoteCode(Rule):
    """The configuration asks for no code of the model's own.

    `auto_map` and custom pipelines make `trust_remote_code=True` import Python from the model,
    or from another repository (`org/name--module.Class`), whose newest revision it takes. An
    error where that is another's, or where a configuration cannot be read to tell.

    Remedy: use a model whose class is in transformers; else read the code, pin the revision
    (`code_revision` too), and ignore this rule for that model with the reason.
    """

    id = "S005"
    title = "the configuration asks for no remote code"
    severity = WARNING

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """One flaw a configuration file and class, or a file that cannot be read."""
        for path, document, unread in code.configurations(subject):
            if unread is not None:
                what = f"what code it asks for is not known: {unread}"
                yield Flaw(what, path, severity=ERROR)
            for asked in code.asked_for(path, document):
                severity = ERROR if asked.elsewhere else None
                yield Flaw(asked.what, path, severity=severity)
        _no_more(subject)


class NoCode(Rule):
    """The model brings no source code, programs or libraries.

    Weights, configuration and tokenizer need none. Python in a repository runs with
    `trust_remote_code=True`; a library or program is there to be loaded or started.

    Remedy: leave them out; where a model needs its Python, read it and ignore this rule for
    that model with the reason.
    """

    id = "S006"
    title = "no code, programs or libraries"
    severity = WARNING

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """One flaw a file: programs are errors, a mere permission to run is a note."""
        for entry in subject.files:
            if (what := code.program(subject, entry)) is not None:
                yield Flaw(what, entry.path, severity=ERROR)
            elif (what := code.source(subject, entry)) is not None:
                yield Flaw(what, entry.path)
            elif entry.executable and entry.link is None:
                yield Flaw("may be executed, by its permissions", entry.path, severity=NOTE)
        _no_more(subject)


class NoLinksOut(Rule):
    """No link leads out of the model.

    A model is copied, packed and served: a link to `/etc/passwd` or to another user's files
    takes these along, or is followed when it is written to. Links of the HF cache to its own
    blobs are part of the model.

    Remedy: replace the link by the file, or remove it.
    """

    id = "S007"
    title = "no link leads out of the model"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """One flaw a link."""
        for entry in subject.files:
            if entry.outside:
                yield Flaw(f"a link to {entry.link or '?'}, outside the model", entry.path)
        _no_more(subject)


class PlainNames(Rule):
    """Names of files and tensors hold no control characters.

    Escape codes, line breaks and marks of writing direction make a name look like another, and
    act on the terminals and logs that show it.

    Remedy: rename the files, or save the tensors again under plain names.
    """

    id = "S008"
    title = "no control characters in names"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """One flaw a name."""
        for entry in subject.files:
            if not entry.path.isprintable():
                yield Flaw("control characters in the name of a file", entry.path)
        for name in subject.tensors.names:
            if not name.isprintable():
                yield Flaw("control characters in the name of a tensor", tensor=name)
        _no_more(subject)


def _no_more(subject: Subject) -> None:
    """Raise Skip where files are left that nobody looked at: S004 fails, and nothing passes."""
    if subject.cut is not None:
        raise Skip(f"not all files are looked at: {subject.cut}")


def _what(pickles: Sequence[Pickle], hidden: bool) -> str:
    """What a file is or holds."""
    by_name = ", by the name of something else" if hidden else ""
    if all(each.inside is None for each in pickles):
        several = f" ({counted(len(pickles), 'pickle')} in a row)" if len(pickles) > 1 else ""
        return f"is a pickle{several}{by_name}"
    places = list(dict.fromkeys(each.inside or "itself" for each in pickles))
    script = ", of TorchScript" if all(each.script for each in pickles) else ""
    return f"holds {counted(len(places), 'pickle')}{script}: {some_of(places)}{by_name}"


def _foreign(subject: Subject) -> Iterator[tuple[str, Named]]:
    """What pickles name that tensors do not need, by file."""
    for path, found in subject.pickles.items():
        yield from ((path, named) for named in islice(foreign(found.pickles), MOST_NAMES))


def _judged(subject: Subject) -> Iterator[tuple[str, Named, str]]:
    """The same with a verdict. Raises MissingExtra where there are any and no scanner."""
    found = list(_foreign(subject))
    said = verdicts(named.name for _, named in found) if found else {}
    return ((path, named, said[named.name]) for path, named in found)


def _place(named: Named) -> str:
    return f" in {named.inside}" if named.inside else ""


RULES: tuple[type[Rule], ...] = (
    NoPickles, NoDangerousGlobals, NoUnknownGlobals, AllLookedInto, NoRemoteCode, NoCode,
    NoLinksOut, PlainNames,
)  # fmt: skip
