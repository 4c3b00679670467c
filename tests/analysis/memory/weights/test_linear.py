"""Which parameters bitsandbytes takes: by what their modules are, and by what is kept from it."""

from __future__ import annotations

import re

import pytest

from modelscope_cli.analysis.memory.weights import linear
from modelscope_cli.analysis.memory.weights.linear import EXPERTS, Judged, Skips
from modelscope_cli.facts import Shape
from modelscope_cli.knowledge.modules import Parameter, Tie
from tests.analysis.memory.weights.holding import LINEAR, NORM, RAW, Class, hold, one

NOTHING = Skips((), None)
LAST = "the model's last parameter, left alone by default"


def _of(kind: str, shape: Shape = (4, 4), name: str = "a.weight") -> str | None:
    return linear.not_linear(one([(name, "F32", shape)], Class({name: Parameter(kind, None)})))


def _judged(count: int, skip: Skips, shapes: tuple[Shape, ...] = ()) -> list[Judged]:
    rows = [(f"layers.{n}.up.weight", "F32", shapes[n] if shapes else (6, 4)) for n in range(count)]
    return linear.judge(hold(rows, Class({"layers.*.up.weight": LINEAR})).held, skip)


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_what_is_taken(kind: str) -> None:
    assert _of(kind) is None


@pytest.mark.parametrize(
    ("kind", "word"),
    [("sublinear", "subclass"), ("embedding", "embedding"), ("conv", "convolution"),
     ("norm", "norm"), ("raw", "of its own"), ("untold", "small")],
)  # fmt: skip
def test_what_is_not(kind: str, word: str) -> None:
    assert word in (_of(kind) or "")


def test_biases_and_others_of_a_linear_are_not_taken() -> None:
    assert _of("linear", (4,), "a.bias") is not None
    assert _of("linear", (4, 4), "a.scale") is not None
    assert _of("linear", (4,)) is not None


def test_experts() -> None:
    assert _of("raw", (8, 4, 4), "mlp.experts.down_proj") == EXPERTS
    assert _of("raw", (8, 4, 4), "mlp.other") != EXPERTS
    merged = one(
        [(f"experts.{n}.w.weight", "F32", (4, 4)) for n in range(3)],
        Class({"experts.w": RAW}, lambda _: ("experts.w",)),
    )
    assert linear.not_linear(merged) == EXPERTS


def test_no_rows() -> None:
    assert linear.judge([], NOTHING) == []
    assert linear.judge([], Skips((), "layers.*.up")) == []


def test_all_are_taken_where_nothing_is_kept() -> None:
    (part,) = _judged(3, NOTHING)
    assert (part.reason, part.times, part.elements, part.outputs) == (None, 3, 72, 18)


def test_one_of_the_layers_is_the_last() -> None:
    rest, last = _judged(3, Skips((), "layers.*.up"))
    assert (rest.reason, rest.times, rest.elements, rest.outputs) == (None, 2, 48, 12)
    assert (last.reason, last.times, last.elements, last.outputs) == (LAST, 1, 24, 6)
    assert list(rest.names()) == ["layers.0.up.weight", "layers.1.up.weight"]
    assert list(last.names()) == ["layers.2.up.weight"]


def test_the_only_layer_is_the_last() -> None:
    (part,) = _judged(1, Skips((), "layers.*.up"))
    assert (part.reason, part.times) == (LAST, 1)


@pytest.mark.parametrize("shapes", [((2, 4), (4, 4), (6, 4)), ((6, 4), (4, 4), (6, 4))])
def test_layers_unlike_each_other_have_one_last(shapes: tuple[Shape, ...]) -> None:
    """Not one of every shape."""
    parts = _judged(3, Skips((), "layers.*.up"), shapes)
    kept = [part for part in parts if part.reason is not None]
    assert [(list(part.names()), part.elements) for part in kept] == [
        (["layers.2.up.weight"], shapes[2][0] * 4)
    ]
    assert sum(part.elements for part in parts) == sum(4 * rows for rows, _ in shapes)
    assert sum(part.times for part in parts) == 3


def test_a_skipped_module_is_kept_whatever_its_layer() -> None:
    skip = Skips(((r"layers\.\d+\.up", "why"),), "layers.*.up")
    (part,) = _judged(3, skip)
    assert (part.reason, part.times) == ("why", 3)


# The list by default


def test_skips_of_ties_head_and_float32() -> None:
    found = linear.skips(
        [Tie("lm_head.weight", "model.embed_tokens.weight", "")], "lm_head", None, ["wo"]
    )
    assert dict(found.keys) == {
        r"model\.embed_tokens": "tied to another parameter",
        r"lm_head": "tied to another parameter",
        "wo": "kept in float32 by its class",
    }
    assert found.last is None


def test_a_bias_protects_nothing() -> None:
    assert linear.skips([], None, "classifier.bias", []) == Skips((), None)


def test_the_last_is_one_module_or_the_last_of_many() -> None:
    assert linear.skips([], None, "head.weight", []).keys == ((r"head", LAST),)
    assert linear.skips([], None, "layers.*.norm.weight", []) == Skips((), "layers.*.norm")


def test_the_head_that_is_the_last_has_the_head_s_reason() -> None:
    ((key, reason),) = linear.skips([], "lm_head", "lm_head.weight", []).keys
    assert (key, reason) == ("lm_head", "the output head, left alone by default")


@pytest.mark.parametrize(
    ("key", "module", "is_kept"),
    [
        ("lm_head", "lm_head", True),
        ("lm_head", "model.lm_head", True),
        ("lm_head", "lm_head.dense", True),
        ("lm_head", "lm_head2", False),
        ("lm_head", "lm_head2.dense", False),
        ("wo", "encoder.block.0.wo", True),
        ("wo", "encoder.block.0.two", True),  # str.endswith, as transformers has it
        ("wo", "wol", False),
        ("classifier", "my.classifier.dense", False),
    ],
)
def test_a_key_fits_from_the_start_or_at_the_end(key: str, module: str, is_kept: bool) -> None:
    rows = [(f"{module}.weight", "F32", (4, 4))]
    template = re.sub(r"\.\d+\.", ".*.", f"{module}.weight")
    held = hold(rows, Class({template: LINEAR})).held
    (part,) = linear.judge(held, Skips(((key, "why"),), None))
    assert (part.reason == "why") is is_kept


def test_keys_agree_with_the_library() -> None:
    """Against transformers' own `should_convert_module`."""
    utils = pytest.importorskip(
        "transformers.quantizers.quantizers_utils", reason="asks transformers, which is not here"
    )
    keys = ["lm_head", "wo", "model.embed", "layers.1", "a.b.c", "h"]
    modules = ["lm_head", "x.lm_head", "lm_headx", "model.embed.q", "model.embedding", "two",
               "layers.1.up", "layers.10.up", "layers.11", "model.layers.1", "a.b.c.d", "h.0.q",
               "a.b", "hh", "wo.x", "x.wo.y"]  # fmt: skip
    for key in keys:
        rules = [(linear._compiled(re.escape(key)), "why")]
        for module in modules:
            ours = any(pattern.match(module) for pattern, _ in rules)
            assert ours is not utils.should_convert_module(module, [key]), (key, module)


def test_reasons_are_kept_for_the_report() -> None:
    held = hold(
        [("a.weight", "F32", (4, 4)), ("n.weight", "F32", (4,))],
        Class({"a.weight": LINEAR, "n.weight": NORM}),
    ).held
    assert [part.reason for part in linear.judge(held, NOTHING)] == [None, "a norm"]
