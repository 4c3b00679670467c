"""Packing a whole model, and stored shapes read backwards."""

from __future__ import annotations

import pytest

from modelscope_cli.analysis import packing, params
from modelscope_cli.analysis.roles import RowFact
from modelscope_cli.errors import UsageError
from modelscope_cli.facts import TensorTable
from modelscope_cli.schemes.base import Options
from modelscope_cli.sources import builtin


def rows(name: str) -> tuple[TensorTable, list[RowFact]]:
    facts = builtin.load(name)
    assert isinstance(facts.tensors, TensorTable)
    return facts.tensors, params.examine(facts, facts.tensors, params.Choice()).folded()


def test_huozi3_in_nf4_is_what_transformers_4_held_of_it() -> None:
    table, facts = rows("huozi3")
    found = packing.what_if(facts, table, "nf4", Options())
    assert found.stored_bytes == 27_057_227_776
    assert sum(len(row.row.indices) for row in found.packed) == 928


def test_what_stays_has_a_reason() -> None:
    table, facts = rows("llama3-8b")
    found = packing.what_if(facts, table, "nf4", Options(double_quant=True))
    assert {kept.fact.row.name: kept.reason for kept in found.kept}["lm_head.weight"]
    assert all(kept.reason for kept in found.kept)


def test_llama3_8b_in_double_quant_is_what_bitsandbytes_allocates() -> None:
    # 5,702,540,160 B as measured holds 320 bytes of buffers beside parameters and state.
    table, facts = rows("llama3-8b")
    found = packing.what_if(facts, table, "nf4", Options(double_quant=True))
    assert 0 <= 5_702_540_160 - found.stored_bytes < 1024


@pytest.mark.parametrize("scheme", packing.SCHEME_NAMES)
def test_every_scheme_packs_and_reads_its_own_shape_backwards(scheme: str) -> None:
    made = packing.pack(scheme, (512, 1024), Options())
    stored = made.packed
    readings = packing.backwards(stored.shape, None)
    assert any(reading.held.weights == made.elements for reading in readings)
    assert made.total_bytes == sum(part.bytes for part in made.parts)


@pytest.mark.parametrize("scheme", packing.SCHEME_NAMES)
def test_a_scheme_without_options_passes_the_check(scheme: str) -> None:
    packing.check(scheme, Options())


@pytest.mark.parametrize("size", [16, 24, 32, 96, 128, 1000])
def test_group_sizes_that_divide_pass_the_check(size: int) -> None:
    packing.check("awq", Options(group=size))
    packing.check("fp8-block", Options(block=size))


def test_a_stored_shape_finds_the_experts_it_can_be() -> None:
    table, facts = rows("huozi3")
    readings = list(packing.backwards((29_360_128, 1), "U8", facts, table))
    fits = next(reading.fits for reading in readings if reading.held.weights == 58_720_256)
    assert sum(len(fact.row.indices) for fact in fits) == 768
    assert {packing.repeats(fact) for fact in fits} == {"8 experts x 32 layers"}


def test_an_option_that_a_scheme_has_not_is_refused() -> None:
    with pytest.raises(UsageError, match="--bits means nothing to nf4"):
        packing.pack("nf4", (8, 8), Options(bits=3))


def test_a_scheme_nobody_has_is_refused_with_near_names() -> None:
    with pytest.raises(UsageError) as refusal:
        packing.pack("nf44", (8, 8), Options())
    assert "nf4" in (refusal.value.hint or "")
