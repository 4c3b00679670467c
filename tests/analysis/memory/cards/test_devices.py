"""The grammar of --gpus, and the table of cards behind it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import modelscope_cli
from modelscope_cli.analysis.memory.cards import devices, smi
from modelscope_cli.analysis.memory.cards.devices import named, parse
from modelscope_cli.errors import UsageError
from modelscope_cli.live import cards as live

GIB = 2**30
ROWS = json.loads(
    (Path(modelscope_cli.__file__).parent / "data" / "gpus.json").read_text(encoding="utf-8")
)["cards"]


@pytest.mark.parametrize(
    ("typed", "each", "name"),
    [
        ("4x80GiB", [80 * GIB] * 4, "4 x 80GiB"),
        ("24GB", [24 * 10**9], "1 x 24GB"),
        ("24gib,48GiB", [24 * GIB, 48 * GIB], "1 x 24gib + 1 x 48GiB"),
        ("2 x 1.5TiB", [1536 * GIB] * 2, "2 x 1.5TiB"),
        ("2×512MiB", [2**29] * 2, "2 x 512MiB"),
        ("h100", [int(79.1 * GIB)], "1 x h100-80gb"),
        ("RTX4090", [int(23.52 * GIB)], "1 x rtx-4090"),
        ("4x4090", [int(23.52 * GIB)] * 4, "4 x rtx-4090"),
        ("2080ti", [int(10.73 * GIB)], "1 x rtx-2080-ti"),
        ("2xa100-80gb", [int(79.14 * GIB)] * 2, "2 x a100-80gb"),
        ("a100-80gb:3", [int(79.14 * GIB)] * 3, "3 x a100-80gb"),
        ("gpu:a100-sxm4-80gb:4", [int(79.14 * GIB)] * 4, "4 x a100-80gb"),
        ("--gres=gpu:v100-32gb:2", [int(31.73 * GIB)] * 2, "2 x v100-32gb"),
        ("gres:gpu:t4", [int(14.56 * GIB)], "1 x t4"),
        ("gpu:nvidia_h100_80gb_hbm3:8(S:0-1)", [int(79.1 * GIB)] * 8, "8 x h100-80gb"),
        ("1xl4,2xl40s", [int(22.03 * GIB)] + [int(44.39 * GIB)] * 2, "1 x l4 + 2 x l40s"),
    ],
)
def test_what_is_typed_is_understood(typed: str, each: list[int], name: str) -> None:
    cards = parse(typed)
    assert (list(cards.each), cards.name) == (each, name)
    assert (cards.number, cards.each_bytes) == (len(each), min(each))


@pytest.mark.parametrize(
    ("typed", "said", "hint"),
    [
        ("gpu:4", "does not say which cards", "4x80GiB"),
        ("a100", "no card is known as 'a100'", "a100-40gb or a100-64gb or a100-80gb"),
        ("v100:2", "no card is known as 'v100'", "v100-16gb or v100-32gb"),
        ("a100-79gb", "no card is known", "a100-80gb"),
        ("h2000", "no card is known", "h200"),
        ("80", "no unit", "80GiB"),
        ("4x80", "no unit", "80GiB"),
        ("0x80GiB", "1 to 1,024 cards", None),
        ("99999xh100", "1 to 1,024 cards", None),
        (f"{'9' * 900}xh100", "1 to 1,024 cards", None),
        ("gpu:h100:0", "1 to 1,024 cards", None),
        ("gpu::2", "is not gpu:TYPE:COUNT", "gpu:a100"),
        ("4x0GiB", "no size that a card has", "80GiB"),
        ("99TiB", "no size that a card has", "80GiB"),
        ("1000xh100,1000xt4", "2,000 cards are more than 1,024", None),
        ("", "no card is known as ''", "80GiB"),
        ("4x", "no card is known as '4x'", "80GiB"),
        ("24GiB,", "no card is known as ''", "80GiB"),
        ("-2xh100", "no card is known", None),
        ("x" * 10**6, "no card is known", "80GiB"),
    ],
)
def test_what_is_no_card_is_refused(typed: str, said: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        parse(typed)
    assert said in caught.value.message
    assert hint is None or hint in (caught.value.hint or "")


def test_slurm_knows_its_own_word_for_a_card() -> None:
    assert parse("gpu:a100-sxm4-80gb:4").type == "a100-sxm4-80gb"
    assert parse("a100-80gb:2").type == "a100-80gb"
    assert parse("2xa100-80gb").type is None
    assert parse("gpu:t4:1,gpu:h100:1").type is None


def test_fewer_or_more_of_the_same() -> None:
    cards = parse("gpu:a100-sxm4-80gb:4").of(2)
    assert (cards.name, cards.number, cards.type) == ("2 x a100-80gb", 2, "a100-sxm4-80gb")


def test_what_is_odd_about_a_card_is_told() -> None:
    assert parse("mi250x").notes == ("mi250x: one of the two devices of a card",)
    assert "nvidia-smi shows" in parse("rtx-3060").notes[0]
    assert parse("h100").notes == ()


@pytest.mark.parametrize(
    "spelling",
    ["NVIDIA A100-SXM4-80GB", "NVIDIA A100 80GB PCIe", "a100_80gb", "nvidia_a100-sxm4-80gb"],
)
def test_a_card_is_known_as_the_driver_spells_it(spelling: str) -> None:
    assert named(spelling).name == "a100-80gb"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row["name"]))
def test_the_table_holds_together(row: dict[str, Any]) -> None:
    card = named(row["name"])
    assert card.name == row["name"]
    assert all(named(alias) == card for alias in row["aliases"])
    assert row["source"]
    assert card.bytes > 0
    if card.smi_bytes is not None:
        # What can be had is less than what is shown, by 5 % at the most.
        assert 0.95 * card.smi_bytes < card.bytes <= card.smi_bytes
        assert card.reported == (card.bytes < card.smi_bytes)


def test_no_two_cards_share_a_name() -> None:
    keys = [devices._key(name) for row in ROWS for name in (row["name"], *row["aliases"])]
    assert len(keys) == len(set(keys))


SMI = """\
0, GPU-aaaa, NVIDIA A100-SXM4-80GB, 81920, 770, 0
1, GPU-bbbb, NVIDIA A100-SXM4-80GB, 81920, 770, 1024
2, GPU-cccc, "Odd, Name", 16384, [N/A], 0
"""


def test_the_cards_here_are_what_is_free_on_them() -> None:
    cards = smi.cards(smi.read(SMI))
    assert cards.name == "2 x NVIDIA A100-SXM4-80GB + 1 x Odd, Name"
    assert cards.each == tuple(2**20 * mib for mib in (81150, 80126, 16384))
    assert cards.notes == ("1,024 MiB of these cards are in use",)


@pytest.mark.parametrize(
    ("visible", "numbers"),
    [
        (None, "012"),
        ("1,0", "10"),
        ("GPU-cc", "2"),
        ("0,7,1", "0"),
        ("", ""),
        ("-1", ""),
        ("GPU-", ""),
    ],
)
def test_cuda_visible_devices_counts(visible: str | None, numbers: str) -> None:
    found = smi.visible(smi.read(SMI), visible)
    assert "".join(gpu.number for gpu in found) == numbers


@pytest.mark.parametrize("text", ["", "No devices were found\n", "0, a, b, c, d, e\n", '"\n'])
def test_no_gpu_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="no GPU is visible here"):
        smi.cards(smi.read(text))


def answering(result: Any) -> Callable[..., Any]:
    def run(*_: Any, **__: Any) -> Any:
        if isinstance(result, Exception):
            raise result
        return SimpleNamespace(stdout=result)

    return run


def test_this_machine_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("subprocess.run", answering(SMI.encode()))
    assert live.here().number == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert live.here().number == 1


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (FileNotFoundError(), "visible here: there is no nvidia-smi"),
        (PermissionError("denied"), "no answer: denied"),
    ],
)
def test_a_machine_that_cannot_be_asked(
    failure: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.run", answering(failure))
    with pytest.raises(UsageError, match=said):
        live.here()
