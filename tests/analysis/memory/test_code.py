"""The from_pretrained call: Python that compiles, for what the row is."""

from __future__ import annotations

import ast

import pytest

from modelscope_cli.analysis.memory import code, modes
from modelscope_cli.analysis.memory.rows import Row
from modelscope_cli.facts import ModelRef, Unknown

LOCAL = ModelRef("./m", "directory", path="/models/m")
HUB = ModelRef("org/m@x", "cache", id="org/m", revision="a" * 40)


def _row(
    bits: str = "stored", quant: str | None = None, *, double: bool = False,
    dtype: str | None = None, transformers: int = 5,
) -> Row:  # fmt: skip
    mode = modes.mode(bits, quant, double_quant=double, dtype=dtype, transformers=transformers)
    used = mode.float_dtype("BF16")
    return Row(mode, used, "", (), 0, 0, (), Unknown("not asked"))


def _call(row: Row, ref: ModelRef = LOCAL, *, on_cards: bool = False) -> str:
    found = code.call(ref, "LlamaForCausalLM", row, on_cards=on_cards)
    assert isinstance(found, str)
    return found


def _keywords(text: str) -> dict[str, str]:
    """Keywords of the call, as they are written."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    call = next(node for node in calls if ast.unparse(node.func).endswith("from_pretrained"))
    return {each.arg or "**": ast.unparse(each.value) for each in call.keywords}


ROWS = [
    _row("stored"), _row("32"), _row("16"), _row("8"), _row("4"), _row("4", "fp4"),
    _row("4", double=True), _row("4", dtype="F16"), _row("8", transformers=4),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.mode.bits))
@pytest.mark.parametrize("ref", [LOCAL, HUB], ids=["local", "hub"])
@pytest.mark.parametrize("on_cards", [False, True])
def test_it_is_python(row: Row, ref: ModelRef, on_cards: bool) -> None:
    text = _call(row, ref, on_cards=on_cards)
    compile(text, "call", "exec")
    assert ("device_map" in text) is (on_cards or row.mode.scheme is not None)


def test_as_stored_says_nothing() -> None:
    assert _keywords(_call(_row())) == {}
    assert "BitsAndBytesConfig" not in _call(_row())


def test_dtypes() -> None:
    assert _keywords(_call(_row("32"))) == {"dtype": "torch.float32"}
    assert _keywords(_call(_row("16"))) == {"dtype": "torch.bfloat16"}
    assert _keywords(_call(_row("stored", dtype="F16"))) == {"dtype": "torch.float16"}


def test_four_bits() -> None:
    found = _keywords(_call(_row("4", "fp4", double=True)))
    assert set(found) == {"dtype", "quantization_config", "device_map"}
    config = ast.parse(found["quantization_config"], mode="eval").body
    assert isinstance(config, ast.Call)
    assert {each.arg: ast.unparse(each.value) for each in config.keywords} == {
        "load_in_4bit": "True",
        "bnb_4bit_quant_type": "'fp4'",
        "bnb_4bit_use_double_quant": "True",
        "bnb_4bit_compute_dtype": "torch.bfloat16",
    }


def test_eight_bits() -> None:
    found = _keywords(_call(_row("8")))
    assert found["quantization_config"] == "BitsAndBytesConfig(load_in_8bit=True)"


def test_what_it_configures_is_what_was_asked() -> None:
    """The library reads the call's own configuration."""
    transformers = pytest.importorskip("transformers", reason="asks transformers, not here")
    torch = pytest.importorskip("torch", reason="asks torch, which is not here")
    written = _keywords(_call(_row("4", double=True, dtype="F16")))["quantization_config"]
    made = eval(written, {"BitsAndBytesConfig": transformers.BitsAndBytesConfig, "torch": torch})
    assert made.load_in_4bit
    assert made.bnb_4bit_quant_type == "nf4"
    assert made.bnb_4bit_use_double_quant
    assert made.bnb_4bit_compute_dtype == torch.float16


def test_a_commit_is_named() -> None:
    assert _keywords(_call(_row(), HUB)) == {"revision": f"'{'a' * 40}'"}
    assert "'org/m'" in _call(_row(), HUB)
    assert "'/models/m'" in _call(_row(), LOCAL)


def test_the_old_release_is_named() -> None:
    assert _call(_row("4", transformers=4)).startswith("# with transformers 4\n")


def test_without_a_class() -> None:
    found = code.call(LOCAL, None, _row(), on_cards=False)
    assert "AutoModel.from_pretrained" in str(found)


@pytest.mark.parametrize("path", ["it's", 'a"b', "a\nimport os", "\x1b[31m", "é\u202e", "a\\"])
def test_a_path_is_a_string_whatever_it_holds(path: str) -> None:
    text = _call(_row(), LOCAL._replace(path=path))
    assert text.isascii()
    assert text.isprintable() or set(text) - {"\n"} == {c for c in text if c.isprintable()}
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    (argument,) = calls[0].args
    assert ast.literal_eval(argument) == path


def test_what_is_no_call() -> None:
    gguf = LOCAL._replace(format="gguf")
    assert isinstance(code.call(gguf, None, _row(), on_cards=False), Unknown)
    ideal = code.call(LOCAL, None, _row("gptq", "gptq"), on_cards=False)
    assert isinstance(ideal, Unknown)
    assert "gptq" in ideal.reason
