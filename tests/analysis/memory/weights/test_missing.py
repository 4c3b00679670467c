"""Parameters that a file lacks: counted as transformers makes them, where neighbours tell."""

from __future__ import annotations

from modelscope_cli.analysis.memory.weights import amounts
from modelscope_cli.analysis.memory.weights.amounts import DtypePlan
from modelscope_cli.analysis.memory.weights.prepared import Prepared
from tests.analysis.memory.weights.test_contradictions import CONFIG, LAYER, ROWS, found

BF16 = DtypePlan("BF16")
LAYER_ELEMENTS = sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in LAYER.values())


def _weights(prepared: Prepared) -> int:
    return amounts.plain(prepared.weighed, BF16).weights


def test_a_layers_missing_tensor_is_as_large_as_its_neighbours() -> None:
    prepared = found(CONFIG, [row for row in ROWS if "1.mlp.up_proj" not in row[0]])
    assert [each.shown() for each in prepared.anew] == ["model.layers.1.mlp.up_proj.weight"]
    assert _weights(prepared) == _weights(found(CONFIG))
    assert prepared.doubts == (prepared.warnings[0].text,)
    assert "model.layers.1.mlp.up_proj.weight" in prepared.doubts[0]


def test_missing_layers_are_like_those_that_are_there() -> None:
    prepared = found({**CONFIG, "num_hidden_layers": 5})
    assert _weights(prepared) == _weights(found(CONFIG)) + 3 * 2 * LAYER_ELEMENTS
    assert "27 tensors of its class are not in the file" in prepared.doubts[0]


def test_what_is_made_anew_is_not_packed() -> None:
    prepared = found({**CONFIG, "num_hidden_layers": 3})
    packed = amounts.quantized(prepared.judged, BF16, "nf4")
    whole = amounts.quantized(found(CONFIG).judged, BF16, "nf4")
    assert packed.weights == whole.weights + 2 * LAYER_ELEMENTS
    assert packed.quantization == whole.quantization


def test_layers_that_may_differ_are_not_filled_up() -> None:
    """By its configuration one may be without: which, only the class knows."""
    alike = {**CONFIG, "layer_types": ["full_attention", "full_attention"]}
    rows = [row for row in ROWS if "1.mlp" not in row[0]]
    assert found({**CONFIG, "decoder_sparse_step": 2}, rows).anew == ()
    assert found(alike, rows).anew != ()


def test_a_head_that_the_file_lacks_is_told() -> None:
    prepared = found(CONFIG, [row for row in ROWS if row[0] != "lm_head.weight"])
    assert "the file has no lm_head.weight" in prepared.doubts[0]
    assert _weights(prepared) == _weights(found(CONFIG))
