"""Seeing through packing over a whole checkpoint: families, mixes, and what contradicts itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from modelscope_cli.analysis import packed, roles
from modelscope_cli.analysis.fold import fold, templates
from modelscope_cli.facts import Shape, Unknown
from modelscope_cli.schemes.base import Logical
from tests.analysis.tables import table

Row = tuple[str, str, Shape]


def quant_state(*shape: int, kind: str = "nf4") -> bytes:
    """The JSON that bitsandbytes saves beside a weight."""
    state = {"quant_type": kind, "blocksize": 64, "dtype": "bfloat16", "shape": list(shape)}
    return json.dumps(state).encode()


def nf4(name: str, *shape: int) -> tuple[list[Row], dict[tuple[str | None, str], bytes]]:
    count = shape[0] * shape[1]
    state = quant_state(*shape)
    key = f"{name}.quant_state.bitsandbytes__nf4"
    rows: list[Row] = [
        (name, "U8", ((count + 1) // 2, 1)),
        (f"{name}.absmax", "F32", (-(-count // 64),)),
        (f"{name}.quant_map", "F32", (16,)),
        (key, "U8", (len(state),)),
    ]
    return rows, {(None, key): state}


def gptq(module: str, out: int, into: int, bits: int = 4, group: int = 32) -> list[Row]:
    return [
        (f"{module}.qweight", "I32", (into * bits // 32, out)),
        (f"{module}.qzeros", "I32", (into // group, out * bits // 32)),
        (f"{module}.scales", "F16", (into // group, out)),
        (f"{module}.g_idx", "I32", (into,)),
    ]


def seen(
    rows: list[Row],
    values: Mapping[tuple[str | None, str], bytes] | None = None,
    declared: Mapping[str, Any] | None = None,
) -> list[roles.RowFact]:
    made = table(rows)
    alike = list(zip(made.dtypes, made.shapes, strict=True))
    folded = fold(made.names, templates(made.names), alike)
    return roles.of(packed.see(folded, made, values or {}, declared or {}), made)


def logical(facts: list[roles.RowFact]) -> dict[str, Shape]:
    return {f.row.name: f.logical.shape for f in facts if isinstance(f.logical, Logical)}


def test_bitsandbytes_reads_the_shape_out_of_its_state() -> None:
    rows, values = nf4("l.0.weight", 96, 64)
    more, others = nf4("l.1.weight", 96, 64)
    facts = seen(rows + more, {**values, **others})
    assert logical(facts) == {"l.{0,1}.weight": (96, 64)}
    assert roles.parameters(facts) == 2 * 96 * 64
    assert [f.role for f in facts] == ["parameter", *["quantization"] * 3]


def test_one_lying_state_hides_its_own_weight_and_no_other() -> None:
    rows, values = nf4("l.0.weight", 96, 64)
    more, others = nf4("l.1.weight", 96, 64)
    others = {key: quant_state(96, 6400) for key in others}
    facts = seen(rows + more, {**values, **others})
    assert logical(facts) == {"l.0.weight": (96, 64)}
    hidden = [fact for fact in facts if isinstance(fact.logical, Unknown)]
    assert [fact.row.name for fact in hidden] == ["l.1.weight"]
    assert isinstance(roles.parameters(facts), Unknown)


def test_a_state_that_was_not_read_leaves_the_shape_unknown() -> None:
    rows, _ = nf4("l.weight", 96, 64)
    assert isinstance(seen(rows)[0].logical, Unknown)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_gptq_tells_its_bits_by_its_shapes(bits: int) -> None:
    facts = seen([*gptq("l.0", 64, 128, bits), *gptq("l.1", 64, 128, bits)])
    assert logical(facts) == {"l.{0,1}.qweight": (64, 128)}


def test_awq_is_told_from_gptq() -> None:
    rows: list[Row] = [
        ("l.qweight", "I32", (256, 64 // 8)),
        ("l.qzeros", "I32", (2, 64 // 8)),
        ("l.scales", "F16", (2, 64)),
    ]
    facts = seen(rows)
    assert (facts[0].scheme, logical(facts)) == ("awq", {"l.qweight": (64, 256)})


def test_different_bits_a_layer_in_one_model() -> None:
    facts = seen([*gptq("l.0", 64, 128, 4), *gptq("l.1", 64, 128, 8)])
    assert logical(facts) == {"l.0.qweight": (64, 128), "l.1.qweight": (64, 128)}


def test_unquantized_layers_beside_packed_ones_are_plain() -> None:
    facts = seen([*gptq("l.0", 64, 128), ("l.1.weight", "F16", (64, 128)), ("n", "F16", (5,))])
    plain = {fact.row.name: fact.scheme for fact in facts if fact.role == "parameter"}
    assert plain == {"l.0.qweight": "gptq", "l.1.weight": None, "n": None}
    assert roles.parameters(facts) == 2 * 64 * 128 + 5


def test_a_layer_that_lacks_what_the_others_have_is_asked_alone() -> None:
    rows = [*gptq("l.0", 64, 128), *gptq("l.1", 64, 128)[:3]]  # no g_idx in layer 1
    assert logical(seen(rows)) == {"l.0.qweight": (64, 128), "l.1.qweight": (64, 128)}


def test_scales_that_do_not_fit_are_named() -> None:
    rows = gptq("l", 64, 128)
    rows[2] = ("l.scales", "F16", (4, 63))
    hidden = seen(rows)[0].logical
    assert isinstance(hidden, Unknown)
    assert "scales" in hidden.reason


def test_names_alone_pack_nothing() -> None:
    rows: list[Row] = [
        ("l.scales", "F32", (3,)),
        ("l.absmax", "F32", (3,)),
        ("b_scales", "F32", (1,)),
    ]
    assert {fact.role for fact in seen(rows)} == {"parameter"}


@pytest.mark.parametrize("method", ["gptq", "awq", "fp8", "nonsense", ["gptq"], None, 7])
def test_a_declaration_of_any_type_harms_nothing(method: object) -> None:
    facts = seen(gptq("l", 64, 128), declared={"quant_method": method, "bits": "x"})
    assert logical(facts) == {"l.qweight": (64, 128)}


def test_ggml_types_stand_for_their_own_shape() -> None:
    facts = seen([("blk.0.ffn_up.weight", "Q4_K", (8, 256)), ("n.weight", "F32", (8,))])
    assert [fact.scheme for fact in facts] == ["q4_k", None]
    assert roles.parameters(facts) == 8 * 256 + 8
