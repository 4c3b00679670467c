"""Family M: each limit held, broken, and not set."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit.conftest import Audit, good
from tests.builders import checkpoints, folders

_RULES = ("M001", "M002", "M003", "M004", "M005", "M006")


def _limits(text: str) -> str:
    return f"[audit.limits]\n{text}\n"


def test_without_limits_every_rule_is_skipped_and_says_what_is_not_set(audit: Audit) -> None:
    said = audit(good(), "--select", "M")
    assert said.code == 0
    for rule in _RULES:
        assert said.status(rule) == "skipped"
        assert "the policy sets no " in said.reason(rule)


@pytest.mark.parametrize(
    ("rule", "breaks", "holds"),
    [
        ("M001", "parameters = 3", "parameters = 4"),
        ("M001", 'parameters = "0.003K"', 'parameters = "1K"'),
        ("M002", 'bytes = "64B"', 'bytes = "20GiB"'),
        ("M004", "largest-tensor = 7", "largest_tensor = 8"),
        ("M005", 'dtypes = ["BF16", "float16"]', 'dtypes = ["bf16", "float32"]'),
        ("M006", 'quantization = "any"', 'quantization = ["none"]'),
        ("M006", 'quantization = ["gptq"]', 'quantization = ["gptq", "none"]'),
    ],
)
def test_each_limit(audit: Audit, rule: str, breaks: str, holds: str) -> None:
    said = audit(good(), "--select", "M", policy=_limits(breaks))
    assert (said.code, said.status(rule)) == (1, "failed")
    said = audit(None, "--select", "M", policy=_limits(holds))
    assert (said.code, said.status(rule)) == (0, "passed")


def test_what_breaks_a_limit_is_named(audit: Audit) -> None:
    said = audit(good(), policy=_limits('largest-tensor = 7\ndtypes = "BF16"'))
    assert [each["tensor"] for each in said.findings("M004")] == ["a.weight", "b.weight"]
    assert said.one("M005")["tensor"] == "a.weight"
    assert said.one("M005")["file"] == "model.safetensors"


def test_buffers_and_the_state_of_packed_weights_have_dtypes_of_their_own(audit: Audit) -> None:
    files = {
        "config.json": folders.BERT,
        "model.safetensors": folders.weights("embeddings.position_ids", dtype="I64"),
    }
    assert audit(files, "--select", "M005", policy=_limits('dtypes = "BF16"')).code == 0


@pytest.mark.parametrize(
    ("allowed", "code"),
    [("nf4", 0), ("bitsandbytes", 0), ("any", 0), ("none", 1), ("gptq", 1), ("fp4", 1)],
)
def test_quantized_weights_by_scheme_library_or_any(
    audit: Audit, tmp_path_factory: pytest.TempPathFactory, allowed: str, code: int
) -> None:
    folder = tmp_path_factory.mktemp("nf4")
    checkpoints.write(
        folder, checkpoints.llama(checkpoints.LLAMA_TINY, checkpoints.nf4, checkpoints.BNB_4BIT)
    )
    policy = _limits(f'quantization = ["{allowed}"]')
    assert audit(None, "--select", "M006", policy=policy, model=str(folder)).code == code


def test_what_several_links_lead_to_counts_once(audit: Audit, tmp_path: Path) -> None:
    folders.write(tmp_path / "m", good())
    (tmp_path / "m" / "link.safetensors").symlink_to("model.safetensors")
    (tmp_path / "m" / "other.safetensors").symlink_to("model.safetensors")
    said = audit(None, "--select", "M002", policy=_limits("bytes = 1"))
    assert "in 4 files" in said.one("M002")["message"]


def test_a_model_that_cannot_be_read_has_no_numbers(audit: Audit) -> None:
    said = audit(good(model__safetensors=b"cut"), "--select", "M", policy=_limits("parameters = 1"))
    assert said.status("M001") == "skipped"
    assert said.reason("M001") == "the model could not be read"
