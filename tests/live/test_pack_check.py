"""`pack --verify`: what bitsandbytes makes, beside what we say."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import pytest

from modelscope_cli.errors import MissingExtra, UsageError
from modelscope_cli.facts import Shape
from modelscope_cli.live import pack_check
from modelscope_cli.live.library import nothing_remote
from modelscope_cli.schemes import bnb
from modelscope_cli.schemes.base import Options, Part

PLAIN = Options()


@pytest.fixture
def _library() -> None:
    pytest.importorskip("bitsandbytes", reason="it is what --verify asks")


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize(
    ("scheme", "shape", "options", "tensors"),
    [
        ("nf4", (48, 65), PLAIN, 4),
        ("fp4", (7, 9), PLAIN, 4),
        ("nf4", (3, 5, 7), Options(double_quant=True, block=32, dtype="F16"), 7),
        ("fp4", (64, 64), Options(storage="BF16", dtype="F32"), 4),
        ("nf4", (0, 5), Options(double_quant=True), 7),
        ("int8", (31, 17), PLAIN, 2),
    ],
)
def test_bitsandbytes_agrees(scheme: str, shape: Shape, options: Options, tensors: int) -> None:
    rows = pack_check.verify(scheme, shape, options)

    assert [row.verdict for row in rows] == ["equal"] * tensors
    assert (
        tuple(row.ours for row in rows if "quant_state" not in row.name)
        == bnb.pack(scheme, shape, options).parts
    )
    assert rows[0].theirs == rows[0].ours
    assert rows[0].name == "weight"


@pytest.mark.usefixtures("_library")
def test_a_difference_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    right = bnb.pack

    def wrong(scheme: str, shape: Shape, options: Options) -> Any:
        packing = right(scheme, shape, options)
        made_up = Part("weight.extra", (1,), "U8", 1)
        packed = packing.packed._replace(shape=(1, packing.packed.shape[0]))
        return packing._replace(parts=(packed, *packing.parts[2:], made_up))

    monkeypatch.setattr(bnb, "pack", wrong)
    rows = {row.name: row for row in pack_check.verify("nf4", (8, 8), PLAIN)}

    differing = {name for name, row in rows.items() if row.verdict == "differs"}
    assert differing == {"weight", "weight.absmax", "weight.extra"}
    assert rows["weight.absmax"].ours is None
    assert rows["weight.absmax"].theirs == Part("weight.absmax", (1,), "F32", 4)
    assert rows["weight.extra"].theirs is None


@pytest.mark.usefixtures("_library")
def test_the_library_refuses() -> None:
    with pytest.raises(UsageError, match=r"bitsandbytes [\d.]+ refuses \[3, 3\] as nf4: "):
        pack_check.verify("nf4", (3, 3), Options(storage="BF16"))


@pytest.mark.usefixtures("_library")
def test_no_code_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """On some CPUs bitsandbytes asks `kernels` for code out of the Hub as it is imported."""
    monkeypatch.delitem(sys.modules, "kernels", raising=False)
    with nothing_remote(), pytest.raises(ImportError):
        import kernels  # type: ignore[import-not-found]  # noqa: F401

    assert "kernels" not in sys.modules


@pytest.mark.parametrize("scheme", ["gptq", "awq", "mxfp4", "q4_k", "made up"])
def test_other_schemes_are_not_its_business(scheme: str) -> None:
    with pytest.raises(UsageError, match=scheme) as caught:
        pack_check.verify(scheme, (64, 64), PLAIN)

    assert caught.value.hint == "it can verify nf4, fp4, int8"


def test_options_are_judged_first() -> None:
    with pytest.raises(UsageError, match="blocks of"):
        pack_check.verify("nf4", (64, 64), Options(block=7))


def test_a_shape_beyond_memory() -> None:
    pytest.importorskip("resource", reason="sysconf knows the memory")
    with pytest.raises(UsageError, match="PiB of memory, this machine has"):
        pack_check.verify("nf4", (10**7, 10**7), PLAIN)


def test_without_bitsandbytes(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **others: Any) -> Any:
        if name.split(".")[0] == "bitsandbytes":
            raise ImportError(name)
        return real(name, *args, **others)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtra) as caught:
        pack_check.verify("nf4", (64, 64), PLAIN)

    assert caught.value.exit_code == 5
    assert caught.value.hint == "pip install 'modelscope-cli[bnb]'"
