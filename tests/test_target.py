"""The MODEL grammar: a table of what people type, round trips, and huggingface_hub's own parser."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from modelscope_cli.errors import NotFound, UsageError
from modelscope_cli.formats.base import ENDINGS
from modelscope_cli.hub_names import FILE_ENDINGS, file_problem, repo_id_problem, revision_problem
from modelscope_cli.target import (
    BuiltinTarget,
    HubTarget,
    LocalTarget,
    Target,
    missing_path_hint,
    parse,
)

PATHS = [
    *("./dir", "/abs/dir", "~/dir", "~someone/dir", ".", "..", "../x", "~", "/", "./org/name"),
    *("C:\\x", "c:/x", ".\\x", "\\\\server\\share", "models\\llama", "./a@b", "C:model"),
    # No repo can be called so: a path, there or not.
    *("foo--bar", "my model", "文件夹", ".hidden", "a..b", "@scope/pkg", "org/name@", "a@b c"),
    *("models", "models/x", "datasets/x/y", "spaces/x/y", "datasets/squad", "a:b:c", "name:"),
    *("a/../b", "a/b/../c", "x/y/z//w"),
    # A file's name, where it is not ORG/NAME/FILE.
    *("model.safetensors", "foo/config.json", "Foo.GGUF", "out/model.PT", "models/llama/x.gguf"),
]
HUB = {
    "org/name": ("org/name", None, None, None),
    "gpt2": ("gpt2", None, None, None),
    "org/name/": ("org/name", None, None, None),
    "org/name@main": ("org/name", "main", None, None),
    "gpt2@v1": ("gpt2", "v1", None, None),
    "org/name@feature/x": ("org/name", "feature/x", None, None),
    "org/name@feature%2Fx": ("org/name", "feature/x", None, None),
    "org/name@refs/pr/12": ("org/name", "refs/pr/12", None, None),
    "org/name@refs/pr/12/unet/config.json": ("org/name", "refs/pr/12", "unet/config.json", None),
    "org/name@v1/model.safetensors": ("org/name", "v1", "model.safetensors", None),
    "org/name@d76c4a5": ("org/name", "d76c4a5", None, None),
    "org/name/model.gguf": ("org/name", None, "model.gguf", None),
    "org/name/sub/a@b.bin": ("org/name", None, "sub/a@b.bin", None),
    "org/name/unet": ("org/name", None, "unet", None),
    "models/org/name": ("org/name", None, None, None),
    "org/name:Q4_K_M": ("org/name", None, None, "Q4_K_M"),
    "org/name@main:Q4_K_M": ("org/name", "main", None, "Q4_K_M"),
    "org/name:Q4_K_M@main": ("org/name", "main", None, "Q4_K_M"),
    "org/name:model-Q8_0.gguf": ("org/name", None, "model-Q8_0.gguf", None),
    "name.safetensors@main": ("name.safetensors", "main", None, None),
}
ADDRESSES = {
    "hf://org/name": ("org/name", None, None, None),
    "HF://org/name/": ("org/name", None, None, None),
    " hf://org/name\n": ("org/name", None, None, None),
    "hf://gpt2": ("gpt2", None, None, None),
    "hf://gpt2@main/config.json": ("gpt2", "main", "config.json", None),
    "hf://models/org/name@v1/a/b.json": ("org/name", "v1", "a/b.json", None),
    "hf://models/gpt2": ("gpt2", None, None, None),
    "hf://org/name@feature/x": ("org/name", "feature", "x", None),
    "hf://org/name@feature%2Fx/y": ("org/name", "feature/x", "y", None),
    "hf://org/model.gguf": ("org/model.gguf", None, None, None),
    "hf://org/name:IQ3_XXS": ("org/name", None, None, "IQ3_XXS"),
    "https://huggingface.co/org/name": ("org/name", None, None, None),
    "https://huggingface.co/org/name/": ("org/name", None, None, None),
    "https://www.huggingface.co/org/name?library=transformers#x": ("org/name", None, None, None),
    "https://huggingface.co/gpt2": ("gpt2", None, None, None),
    "https://huggingface.co/gpt2/blob/main/config.json": ("gpt2", "main", "config.json", None),
    "https://huggingface.co/models/org/name": ("org/name", None, None, None),
    "https://huggingface.co/org/name/tree": ("org/name", None, None, None),
    "https://huggingface.co/org/name/tree/main": ("org/name", "main", None, None),
    "https://huggingface.co/org/tree/tree/main": ("org/tree", "main", None, None),
    "https://huggingface.co/org/name/tree/main/unet/": ("org/name", "main", "unet", None),
    "https://huggingface.co/org/name/tree/refs%2Fpr%2F1": ("org/name", "refs/pr/1", None, None),
    "https://huggingface.co/org/name/tree/refs/pr/1": ("org/name", "refs/pr/1", None, None),
    "https://huggingface.co/org/name/blob/v1/a%20b.json": ("org/name", "v1", "a b.json", None),
    "http://hf.co/org/name/resolve/main/model.safetensors?download=true": (
        *("org/name", "main", "model.safetensors", None),
    ),
    "https://huggingface.co/org/name/raw/main/config.json#L3": (
        *("org/name", "main", "config.json", None),
    ),
    "https://huggingface.co/org/name/commit/d76c4a5": ("org/name", "d76c4a5", None, None),
    "https://huggingface.co/org/name/commits/main": ("org/name", "main", None, None),
    "https://huggingface.co/org/name.git": ("org/name", None, None, None),
    "https://user:token@huggingface.co:443/org/name": ("org/name", None, None, None),
    "https://huggingface.co/org/name@v1": ("org/name", "v1", None, None),
    "huggingface.co/org/name": ("org/name", None, None, None),
    "HF.co/org/name/tree/v2": ("org/name", "v2", None, None),
    "hf.co/org/name:Q4_K_M": ("org/name", None, None, "Q4_K_M"),
    "hf.co/org/name:model.gguf": ("org/name", None, "model.gguf", None),
    "git@hf.co:org/name.git": ("org/name", None, None, None),
}
NO_MODEL = [
    *("hf://datasets/x/y", "hf://spaces/x/y@main/app.py", "https://huggingface.co/datasets/x/y"),
    *("https://huggingface.co/spaces/x/y/tree/main", "huggingface.co/datasets/squad"),
    *("https://huggingface.co/docs/transformers/index", "https://huggingface.co/blog"),
    *("hf://buckets/x/y", "https://huggingface.co/collections/x/y-1"),
]
WRONG = [
    *(
        "",
        " ",
        "\n",
        "a\0b",
        "a\ud800b",
        "https://example.com/org/name",
        "https://hf-mirror.com/org/name",
    ),
    *("https://huggingface.co", "https://huggingface.co/models?search=x", "hf://", "hf://models"),
    *("hf://org/name/../x", "hf://org/name@", "hf://foo--bar/x", "hf://org/name@a..b"),
    *("https://huggingface.co/org/name/discussions/3", "https://huggingface.co/o/n/settings"),
    *("https://huggingface.co/org/name/blob/main/..%2F..%5Cx", "s3://bucket/x", "file:///x"),
    *("https://", "https:///org/name", "hf://org/name:Q4 K", "https://[::1]/org/name"),
]


def fields(target: Target) -> tuple[object, ...]:
    """What counts in a comparison: the type, and not whether the text could be a path."""
    return (type(target), *target[:4])


@pytest.mark.parametrize("text", PATHS)
def test_paths(text: str) -> None:
    assert parse(text) == LocalTarget(text)


@pytest.mark.parametrize(("text", "expected"), HUB.items())
def test_hub_repos_that_may_also_be_paths(
    text: str, expected: tuple[str, str | None, str | None, str | None]
) -> None:
    assert parse(text) == HubTarget(*expected, may_be_path=True)


@pytest.mark.parametrize(("text", "expected"), ADDRESSES.items())
def test_addresses(text: str, expected: tuple[str, str | None, str | None, str | None]) -> None:
    assert parse(text) == HubTarget(*expected, may_be_path="://" not in text)


def test_built_ins() -> None:
    assert parse("builtin:huozi3") == BuiltinTarget("huozi3")
    assert parse(" Builtin:huozi3 ") == BuiltinTarget("huozi3")
    assert str(parse("builtin:x y")) == "builtin:x y"


@pytest.mark.parametrize("text", NO_MODEL)
def test_what_is_no_model_is_not_found(text: str) -> None:
    with pytest.raises(NotFound):
        parse(text)


@pytest.mark.parametrize("text", WRONG)
def test_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def test_datasets_and_spaces_are_called_by_their_name() -> None:
    with pytest.raises(NotFound, match="datasets/x/y is a dataset of the Hub"):
        parse("https://huggingface.co/datasets/x/y")
    assert missing_path_hint("spaces/x/y") == (
        "spaces/x/y is a Space of the Hub: mscope looks at models"
    )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("foo--bar", "no repo id: a repo name cannot hold '--'"),
        ("org/model.gguf", "hf://org/model.gguf"),
        ("@scope/pkg", "it is empty"),
        ("org/name@", "no revision: it is empty"),
    ],
)
def test_the_hint_beside_a_missing_path(text: str, part: str) -> None:
    hint = missing_path_hint(text)
    assert hint is not None
    assert part in hint


@pytest.mark.parametrize("text", ["./x", "/x", "model.safetensors", "C:\\x"])
def test_no_hint_where_a_path_was_clearly_meant(text: str) -> None:
    assert missing_path_hint(text) is None


def test_revision_given_beside_the_model() -> None:
    assert parse("org/name", revision="feature/x")[:2] == ("org/name", "feature/x")
    assert parse("hf://org/name/f", revision="v1")[:3] == ("org/name", "v1", "f")
    assert parse("org/name@v1", revision="v1")[:2] == ("org/name", "v1")
    assert parse("./x", revision="v1") == LocalTarget("./x")


@pytest.mark.parametrize("text", ["org/name@x", "https://huggingface.co/org/name/tree/x"])
def test_two_revisions_are_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="two revisions"):
        parse(text, revision="y")


@pytest.mark.parametrize(
    ("text", "revision"), [("builtin:huozi3", "v1"), ("org/name", "../x"), ("org/name", "")]
)
def test_revisions_that_cannot_be(text: str, revision: str) -> None:
    with pytest.raises(UsageError):
        parse(text, revision=revision)


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        ("https://hub.example.org", "https://hub.example.org/org/name/tree/v1"),
        ("https://hub.example.org/", "hub.example.org/org/name/tree/v1"),
        ("http://localhost:8080/hf", "http://localhost:8080/hf/org/name/tree/v1"),
        ("http://localhost:8080", "localhost:8080/org/name/tree/v1"),
        ("https://hub.example.org", "https://huggingface.co/org/name/tree/v1"),
    ],
)
def test_addresses_of_another_endpoint(endpoint: str, text: str) -> None:
    assert parse(text, endpoint=endpoint)[:2] == ("org/name", "v1")


def test_the_file_endings_are_those_of_the_formats() -> None:
    assert set(FILE_ENDINGS) == {*ENDINGS, ".json"}


REPO_IDS = st.sampled_from(["org/name", "gpt2", "a/b.c-d_e", "org/model.gguf", "x.json"])
REVISIONS = st.none() | st.text(min_size=1, max_size=12).filter(lambda t: not revision_problem(t))
FILES = st.none() | st.text(min_size=1, max_size=12).filter(lambda t: not file_problem(t))


@given(REPO_IDS, REVISIONS, FILES)
@example("org/name", "refs/pr/1", "x")
@example("org/name", "100%25", None)
@example("gpt2", None, "config.json")
@example("org/name", "a/b@c", "d@e:f")
def test_a_hub_target_is_opened_again_by_its_text(
    repo_id: str, revision: str | None, file: str | None
) -> None:
    target = HubTarget(repo_id, revision, file)
    again = parse(str(target))

    implied = "main" if file is not None and "/" not in repo_id else None
    assert fields(again) == (HubTarget, repo_id, revision or implied, file, None)
    assert str(again) == str(target)


@given(st.text(min_size=1, max_size=30))
@example("org/name")
@example("hf://x/y")
@example("builtin:x")
@example("s3://x")
@example(" ")
def test_a_path_is_opened_again_by_its_text(path: str) -> None:
    if "\0" in path:
        return
    again = parse(str(LocalTarget(path)))
    assert again in (LocalTarget(path), LocalTarget(f"./{path}"))


@given(
    st.text(max_size=40)
    | st.text(st.sampled_from("abhf:/@.%2F-_\\~ "), max_size=25)
    | st.builds(
        lambda head, tail: head + tail,
        st.sampled_from(["hf://", "https://huggingface.co/", "hf.co/", "org/name@", "builtin:"]),
        st.text(st.sampled_from("ab/@:.%2F?#treblob-"), max_size=20),
    )
)
def test_any_text_is_a_target_or_a_clear_error(text: str) -> None:
    try:
        target = parse(text)
    except (NotFound, UsageError):
        return
    assert fields(parse(str(target))) == fields(target) or isinstance(target, LocalTarget)
    if isinstance(target, HubTarget):
        assert repo_id_problem(target.id) is None
        assert target.revision is None or revision_problem(target.revision) is None
        assert target.file is None or file_problem(target.file) is None


SEGMENTS = st.sampled_from(
    [
        *("org", "name", "main", "tree", "blob", "resolve", "refs%2Fpr%2F1", "refs", "pr", "1"),
        *("x.json", "v1@2", "models", "feature%2Fx", "a%20b"),
    ]
)


@given(
    st.sampled_from(["hf://", "hf://models/", "https://huggingface.co/", "hf.co/"]),
    st.lists(SEGMENTS, min_size=2, max_size=7),
    st.sampled_from(["", "/", "@main", "@refs/pr/2", "?download=true", "#x"]),
)
def test_addresses_are_read_as_huggingface_hub_reads_them(
    start: str, segments: list[str], end: str
) -> None:
    uris = pytest.importorskip(
        "huggingface_hub.utils._hf_uris", reason="huggingface_hub before 1.6 has no parser"
    )
    text = start + "/".join(segments) + end
    try:
        theirs = uris.parse_hf_uri(text)
    except Exception:
        return  # we take more: repos without an organisation, commit pages
    # gpt2/tree/main is the repo gpt2 to us; one revision is enough, and it must be one.
    assume(text.startswith("hf://") or theirs.id.split("/")[1] not in ("tree", "blob", "resolve"))
    assume(text.startswith("hf://") or "@" not in "/".join(segments[:2]) or len(segments) < 4)
    assume(revision_problem(theirs.revision or "main") is None)
    assert fields(parse(text)) == (
        *(HubTarget, theirs.id, theirs.revision, theirs.path_in_repo or None, None),
    )
