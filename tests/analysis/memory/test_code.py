"""The from_pretrained call: Python that compiles, for what the row is."""

from __future__ import annotations

import ast

import pytest

from modelscope_cli.analysis.memory import code, modes
from modelscope_cli.analysis.memory.model import Model
from modelscope_cli.analysis.memory.part import Part
from modelscope_cli.analysis.memory.row import Row
from modelscope_cli.facts import ModelRef, Unknown
from modelscope_cli.sources.builtin import NAMES
from tests.analysis.memory.weights.test_contradictions import CONFIG, found

LOCAL = ModelRef("./m", "directory", path="/models/m")
HUB = ModelRef("org/m@x", "cache", id="org/m", revision="a" * 40)


def _row(
    bits: str = "stored", quant: str | None = None, *, double: bool = False,
    dtype: str | None = None, transformers: int = 5,
) -> Row:  # fmt: skip
    mode = modes.mode(bits, quant, double_quant=double, dtype=dtype, transformers=transformers)
    used = mode.float_dtype("BF16")
    return Row(mode, used, "", (), 0, 0, (), Unknown("not asked"))


MODEL = Model((found(CONFIG),), CONFIG, "LlamaForCausalLM")


def _said(
    row: Row, ref: ModelRef = LOCAL, model: Model = MODEL, *, on_cards: bool = False
) -> str | Unknown:
    return code.call(code.Asked(ref, model, row, on_cards))


def _call(row: Row, ref: ModelRef = LOCAL, model: Model = MODEL, *, on_cards: bool = False) -> str:
    text = _said(row, ref, model, on_cards=on_cards)
    assert isinstance(text, str)
    return text


def _why_not(row: Row, ref: ModelRef = LOCAL, model: Model = MODEL) -> str:
    text = _said(row, ref, model)
    assert isinstance(text, Unknown)
    return text.reason


def _unknown(config: dict[str, object]) -> Model:
    """Of no class that transformers has."""
    whole = {**CONFIG, "model_type": "mine", "architectures": ["MyLM"], **config}
    return Model((found(whole),), whole, "MyLM")


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


def test_the_models_own_code_is_said_to_run() -> None:
    entries = {"AutoConfig": "configuration_my.Config", "AutoModelForCausalLM": "modeling_my.MyLM"}
    text = _call(_row(), model=_unknown({"auto_map": entries}))
    assert "AutoModelForCausalLM.from_pretrained" in text
    assert _keywords(text) == {"trust_remote_code": "True"}
    assert text.startswith("# trust_remote_code runs")


def test_a_class_that_nobody_knows_is_no_call() -> None:
    assert "no class of transformers is known as MyLM" in _why_not(_row(), model=_unknown({}))


def test_a_built_in_stands_for_what_is_published() -> None:
    text = _call(_row(), ModelRef("builtin:llama3-8b", "builtin", "llama3-8b"))
    assert "'meta-llama/Meta-Llama-3-8B'" in text
    assert text.startswith("# mscope has the shapes alone")
    assert set(code._PUBLISHED) == set(NAMES)


def test_a_file_is_its_folder() -> None:
    file = ModelRef("m", "file", path="/models/m/model.safetensors")
    assert "'/models/m'," in _call(_row(), file)
    assert "would not take ema.safetensors" in _why_not(
        _row(), file._replace(path="/models/m/ema.safetensors")
    )


def test_what_is_packed_already_is_not_packed_again() -> None:
    packed = MODEL._replace(packed_by="nf4")
    assert _keywords(_call(_row("4"), model=packed)).keys() == {"dtype", "device_map"}
    assert "dequantize(torch.bfloat16)" in _call(_row("16"), model=packed)
    assert "packed by gptq at 16 bit" in _why_not(
        _row("16"), model=MODEL._replace(packed_by="gptq")
    )
    why = Unknown("quantize the original")
    row = _row("8")._replace(parts=(Part("weights", why, "estimate"),))
    assert "quantize the original" in _why_not(row, model=packed)


def test_no_weights_no_call() -> None:
    model = MODEL._replace(untold=Unknown("a configuration alone"))
    assert "LlamaForCausalLM(AutoConfig.from_pretrained" in _why_not(_row(), model=model)


@pytest.mark.parametrize("path", ["it's", 'a"b', "a\nimport os", "\x1b[31m", "é\u202e", "a\\"])
def test_a_path_is_a_string_whatever_it_holds(path: str) -> None:
    text = _call(_row(), LOCAL._replace(path=path))
    assert text.isascii()
    assert text.isprintable() or set(text) - {"\n"} == {c for c in text if c.isprintable()}
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    (argument,) = calls[0].args
    assert ast.literal_eval(argument) == path


def test_what_is_no_call() -> None:
    assert "llama.cpp" in _why_not(_row(), LOCAL._replace(format="gguf"))
    assert "gptq" in _why_not(_row("gptq", "gptq"))
    assert "pipeline" in _why_not(_row(), model=MODEL._replace(components=MODEL.components * 2))
