"""The Hub's names: which repo ids, revisions and paths can be, and how they stand together."""

from __future__ import annotations

from typing import NamedTuple

MAX_NAME = 96
MAX_REVISION = 255  # a ref is a file in the cache
HOSTS = ("huggingface.co", "hf.co", "hub-ci.huggingface.co")
FILE_ENDINGS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".json")
KINDS = {
    "models": "a model",
    "datasets": "a dataset",
    "spaces": "a Space",
    "kernels": "a kernel",
    "buckets": "a bucket",
}

_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_ALLOWED = _WORD | frozenset("-.")
_HEX = frozenset("0123456789abcdef")
_NOT_IN_A_REF = frozenset(" ~^:?*[\\")  # git check-ref-format


class Address(NamedTuple):
    """Where something lies on the Hub; `kind` is a key of `KINDS`."""

    kind: str
    id: str
    revision: str | None = None
    file: str | None = None
    quant: str | None = None


def repo_id_problem(repo_id: str) -> str | None:
    """Why this is no repo id; None where it is one.

    The same answers as `huggingface_hub.utils.validate_repo_id`, whose import takes 10 ms.
    """
    if not repo_id:
        return "it is empty"
    if repo_id.count("/") > 1:
        return "a repo is NAME or ORG/NAME"
    if not all(map(_is_name, repo_id.split("/"))):
        return (
            "a repo name has letters, digits, '-', '_' and '.', "
            f"starts and ends with a letter, digit or '_', and has at most {MAX_NAME} characters"
        )
    if "--" in repo_id or ".." in repo_id:
        return "a repo name cannot hold '--' or '..'"
    return "a repo name cannot end in '.git'" if repo_id.endswith(".git") else None


def _is_name(part: str) -> bool:
    return (
        0 < len(part) <= MAX_NAME
        and part[0] in _WORD
        and part[-1] in _WORD
        and _ALLOWED.issuperset(part)
    )


def revision_problem(revision: str) -> str | None:
    """Why this can be no branch, tag, ref or commit; None where it can."""
    if not revision:
        return "it is empty"
    if len(revision) > MAX_REVISION:
        return f"a revision has at most {MAX_REVISION} characters"
    if not revision.isprintable() or not _NOT_IN_A_REF.isdisjoint(revision):
        return "a revision holds no spaces, control characters or any of ~^:?*[\\"
    if ".." in revision or "@{" in revision:
        return "a revision holds neither '..' nor '@{'"
    for part in revision.split("/"):
        if not part or part.startswith(".") or part.endswith((".", ".lock")):
            return "no part of a revision is empty, starts with '.' or ends in '.' or '.lock'"
    return None


def file_problem(path: str) -> str | None:
    """Why this can be no path inside a repo; None where it can."""
    if "\\" in path or "\0" in path or path != path.strip():
        return "a path in a repo holds no backslash and no spaces around it"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "no part of a path in a repo is empty, '.' or '..'"
    return None


def special_ref(text: str) -> str | None:
    """Find the `refs/pr/N` or `refs/convert/NAME` that `text` starts with: refs with slashes."""
    parts = text.split("/", 3)
    if len(parts) < 3 or parts[0] != "refs" or not parts[2]:
        return None
    if parts[1] == "convert" or (parts[1] == "pr" and parts[2].isdecimal()):
        return "/".join(parts[:3])
    return None


def is_commit(text: str, least: int = 40) -> bool:
    """Whether `text` is a commit: `least` to 40 lower-case hexadecimal digits."""
    return least <= len(text) <= 40 and _HEX.issuperset(text)


def split_revision(tail: str, *, greedy: bool) -> tuple[str, str | None, str | None]:
    """Revision, file and GGUF type out of what follows `@`."""
    special = special_ref(tail)
    if special is not None:
        revision, file = special, tail[len(special) + 1 :]
    elif greedy and not tail.lower().endswith(FILE_ENDINGS):
        revision, file = tail, ""
    else:
        revision, _, file = tail.partition("/")
    revision, quant = (revision, None) if file else split_quant(revision)
    if "%" in revision:
        from urllib.parse import unquote

        revision = unquote(revision)
    return revision, file or None, quant


def split_quant(text: str) -> tuple[str, str | None]:
    """What stands before and after the colon of `name:Q4_K_M`."""
    rest, mark, quant = text.partition(":")
    return rest, quant if mark else None
