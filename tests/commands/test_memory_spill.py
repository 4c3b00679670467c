"""`mscope memory --gpus` where a card is too small, or has nothing to do."""

from __future__ import annotations

import pytest

from tests.documents import document
from tests.running import Run

LLAMA = "builtin:llama3-8b"


@pytest.mark.parametrize(("bits", "config"), [("4", "load_in_4bit"), ("8", "load_in_8bit")])
def test_bitsandbytes_does_not_spill(run: Run, bits: str, config: str) -> None:
    """What we warn of is what transformers' own quantizer refuses."""
    done = run("memory", LLAMA, "--bits", bits, "--gpus", "1x4GiB")
    verdict = next(line for line in done.out.splitlines() if line.startswith("does not fit"))
    assert "transformers refuses bitsandbytes weights on CPU or disk" in verdict
    assert "warning: transformers refuses" in done.err
    found = document(run("memory", LLAMA, "--bits", bits, "--gpus", "1x4GiB", "--json").out)
    assert "llm_int8_enable_fp32_cpu_offload" in found["refused"]
    auto = pytest.importorskip("transformers.quantizers.auto", reason="asks transformers")
    pytest.importorskip("bitsandbytes", reason="asks bitsandbytes")
    asked = auto.AUTO_QUANTIZATION_CONFIG_MAPPING[f"bitsandbytes_{bits}bit"](**{config: True})
    quantizer = auto.AUTO_QUANTIZER_MAPPING[f"bitsandbytes_{bits}bit"](asked, pre_quantized=False)
    placed = {
        module: 0 if each["device"] == "cuda:0" else each["device"]
        for each in found["devices"]
        for module in each["modules"]
    }
    with pytest.raises(ValueError, match="llm_int8_enable_fp32_cpu_offload"):
        quantizer.validate_environment(device_map=placed)
    quantizer.validate_environment(device_map=dict.fromkeys(placed, 0))


@pytest.mark.parametrize("argv", [("--bits", "16", "--gpus", "1x4GiB"),
                                  ("--bits", "4", "--gpus", "1x24GiB")])  # fmt: skip
def test_what_transformers_loads_is_not_refused(run: Run, argv: tuple[str, ...]) -> None:
    assert "refused" not in document(run("memory", LLAMA, "--json", *argv).out)


def test_a_card_that_holds_nothing_is_charged_and_told(run: Run) -> None:
    """accelerate's `get_max_memory` makes a tensor on every card."""
    name = "builtin:bert-base-uncased"
    found = document(run("memory", name, "--gpus", "8x24GiB", "--json").out)
    empty = [each for each in found["devices"] if not each["bytes"]]
    assert empty
    assert {each["run_bytes"] for each in empty} == {found["runtime_bytes"]}
    assert "charged CUDA's share too" in run("memory", name, "--gpus", "8x24GiB").err


def test_training_has_no_cache_at_its_peak(run: Run) -> None:
    done = run("memory", LLAMA, "--train", "lora")
    assert "cache at its peak" not in done.out
    assert "for CUDA: assumed" in done.out
