"""The MODEL grammar: what a user types, as a value. Pure: nothing is looked up anywhere.

An existing local path wins over a Hub repo of the same spelling. Whoever has a disk checks
that, where `HubTarget.may_be_path` says that it can be one.
"""

from __future__ import annotations

from typing import NamedTuple

from modelscope_cli.errors import MscopeError, NotFound, UsageError
from modelscope_cli.hub_names import (
    FILE_ENDINGS,
    HOSTS,
    KINDS,
    Address,
    file_problem,
    repo_id_problem,
    revision_problem,
    special_ref,
    split_quant,
    split_revision,
)

BUILTIN = "builtin:"
HUB = "hf://"

_SSH = ("git@hf.co:", "git@huggingface.co:")


class LocalTarget(NamedTuple):
    """A path on this machine as it was typed: `~` is not expanded, existence not checked."""

    path: str

    def __str__(self) -> str:
        return self.path if _reads_as_path(self.path) else f"./{self.path}"


class HubTarget(NamedTuple):
    """A model of the Hub. `file` is a path in the repo, a folder's included.

    `quant` is a GGUF type as it was typed (`Q4_K_M`). `may_be_path` says that the text typed
    could name a local path too.
    """

    id: str
    revision: str | None = None
    file: str | None = None
    quant: str | None = None
    may_be_path: bool = False

    def __str__(self) -> str:
        """Write the `hf://` form, the only one that no local path can take the place of."""
        revision = self.revision
        if revision is None and self.file is not None and "/" not in self.id:
            revision = "main"  # hf://gpt2/config.json would be the repo gpt2/config.json
        at = "" if revision is None else f"@{_quoted(revision)}"
        file = "" if self.file is None else f"/{self.file}"
        return f"{HUB}{self.id}{at}{file}" + (f":{self.quant}" if self.quant else "")


class BuiltinTarget(NamedTuple):
    """A model that ships inside the package; whether there is one of that name is not checked."""

    name: str

    def __str__(self) -> str:
        return f"{BUILTIN}{self.name}"


Target = LocalTarget | HubTarget | BuiltinTarget


def parse(text: str, *, revision: str | None = None, endpoint: str | None = None) -> Target:
    """Tell what `text` names. `endpoint` is `HF_ENDPOINT`, whose pasted addresses count too.

    Raises UsageError (empty, two revisions, an address that cannot be one) and NotFound
    (a dataset or Space). What is neither a repo nor an address is a path, there or not.
    """
    if not text.strip():
        raise UsageError("MODEL is an empty string", "is a variable unset?")
    if "\0" in text or not _can_be_encoded(text):
        raise UsageError(f"MODEL {text!r} holds what neither a path nor a repo id can hold")
    target: Target
    if text.strip().lower().startswith(BUILTIN):
        target = BuiltinTarget(text.strip()[len(BUILTIN) :])
    elif _only_a_path(text):
        target = LocalTarget(text)
    elif (address := _address(text.strip(), endpoint)) is not None:
        target = _model(address, explicit=True)._replace(may_be_path="://" not in text)
    else:
        target = _hub_or_path(text)
    return target if revision is None else _at(target, revision)


def missing_path_hint(text: str) -> str | None:
    """Why a text that is no existing path is no Hub model either; None where that is plain."""
    if _only_a_path(text) or ("/" not in text and text.lower().endswith(FILE_ENDINGS)):
        return None
    try:
        _model(_plain(text.strip()), explicit=False)
    except MscopeError as error:
        return error.message
    return None


def _can_be_encoded(text: str) -> bool:
    """Whether the system could take it; a file name's stray bytes come as lone surrogates."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _reads_as_path(text: str) -> bool:
    try:
        return isinstance(parse(text), LocalTarget)
    except MscopeError:
        return False


def _only_a_path(text: str) -> bool:
    """Spelled as no repo id can be: `/x`, `./x`, `~/x`, `..`, `C:x`, anything with a backslash."""
    if text[:1] in ("/", "~") or "\\" in text or text in (".", ".."):
        return True
    return text.startswith(("./", "../")) or (text[1:2] == ":" and text[0].isalpha())


def _address(text: str, endpoint: str | None) -> Address | None:
    """Read a text that says itself that it is an address; None for `org/name` and paths."""
    scheme, mark, rest = text.partition("://")
    if mark and scheme.lower() == "hf":
        return _in_hf_scheme(rest)
    ssh = next((prefix for prefix in _SSH if text.startswith(prefix)), None)
    if ssh is not None:
        return _in_hf_scheme(text.removeprefix(ssh).removesuffix(".git"))
    if mark and scheme.lower() not in ("http", "https"):
        raise UsageError(
            f"{text}: mscope knows no {scheme}:// addresses", "give a path or ORG/NAME"
        )
    if not mark and not _starts_with_host(text, endpoint):
        return None
    from modelscope_cli import hub_url  # only where an address was pasted

    return hub_url.address(text, endpoint)


def _starts_with_host(text: str, endpoint: str | None) -> bool:
    host = text.partition("/")[0].lower()
    if host.removeprefix("www.") in HOSTS:
        return True
    return endpoint is not None and host == endpoint.split("://")[-1].partition("/")[0].lower()


def _hub_or_path(text: str) -> Target:
    try:
        return _model(_plain(text.strip()), explicit=False)
    except MscopeError:
        return LocalTarget(text)


def _in_hf_scheme(body: str) -> Address:
    """`[models/]org/name[@rev][/file]`, split as `huggingface_hub.parse_hf_uri` splits it."""
    kind, location = _kind(body.strip("/"))
    return _split(kind, location, greedy=False)


def _plain(text: str) -> Address:
    kind, location = _kind(text.rstrip("/"))
    if kind == "models" and location != text.rstrip("/") and "/" not in location:
        raise UsageError(f"{text} is no repo: 'models' is not an organisation")
    return _split(kind, location, greedy=True)


def _kind(location: str) -> tuple[str, str]:
    first, _, rest = location.partition("/")
    return (first, rest) if first in KINDS else ("models", location)


def _split(kind: str, location: str, *, greedy: bool) -> Address:
    """Take an address apart; with `greedy` slashes after `@` belong to the revision."""
    head, at, tail = location.partition("@")
    if at and head.count("/") <= 1:
        repo_id, quant = split_quant(head)
        revision, file, tail_quant = split_revision(tail, greedy=greedy)
        return Address(kind, repo_id, revision, file, quant or tail_quant)
    parts = location.split("/", 2)
    if len(parts) == 3:
        return Address(kind, "/".join(parts[:2]), None, parts[2])
    repo_id, quant = split_quant(location)
    return Address(kind, repo_id, None, None, quant)


def _named(address: Address) -> Address:
    """llama.cpp also takes a file's name in the place of the type: `repo:model.gguf`."""
    quant = address.quant
    if quant is not None and quant.lower().endswith(".gguf"):
        return address._replace(file=quant, quant=None)
    return address


def _model(address: Address, *, explicit: bool) -> HubTarget:
    """Check an address. Raises UsageError or, for what is no model, NotFound."""
    kind, repo_id, revision, file, quant = _named(address)
    if kind != "models":
        raise NotFound(f"{kind}/{repo_id} is {KINDS[kind]} of the Hub: mscope looks at models")
    if repo_id in KINDS:
        raise UsageError(f"{repo_id!r} names no repo")
    _check(repo_id, repo_id_problem(repo_id), "no repo id")
    if revision is not None:
        _check(revision, revision_problem(revision), "no revision")
    if file is not None:
        _check(file, file_problem(file), "no path in a repo")
    if quant is not None and not (
        quant and quant.replace("-", "_").replace(".", "_").isidentifier()
    ):
        raise UsageError(f"{quant!r} is no GGUF type", "as in ORG/NAME:Q4_K_M")
    if (
        not explicit
        and revision is file is quant is None
        and repo_id.lower().endswith(FILE_ENDINGS)
    ):
        raise UsageError(f"a Hub repo of that name is written {HUB}{repo_id}")
    return HubTarget(repo_id, revision, file, quant, may_be_path=not explicit)


def _check(name: str, problem: str | None, what: str) -> None:
    if problem is not None:
        raise UsageError(f"{name!r} is {what}: {problem}")


def _at(target: Target, revision: str) -> Target:
    """Put `--revision` in; a path keeps none: whoever opens it refuses or uses it."""
    if isinstance(target, LocalTarget):
        return target
    if isinstance(target, BuiltinTarget):
        raise UsageError(f"{target} has no revisions: leave --revision out")
    if target.revision not in (None, revision):
        raise UsageError(
            f"two revisions: {target.revision!r} in MODEL and --revision {revision!r}",
            "give one of them",
        )
    _check(revision, revision_problem(revision), "no revision")
    return target._replace(revision=revision)


def _quoted(revision: str) -> str:
    if special_ref(revision) == revision:
        return revision
    return revision.replace("%", "%25").replace("/", "%2F")
