"""`mscope lock`: pin, check, drift as a diff; and `audit --locked`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import audited
from tests.documents import document
from tests.hub.conftest import AddRepo, add, hub  # noqa: F401 fixtures
from tests.hub_server import HubServer
from tests.hub_server.repos import content
from tests.running import Golden, Run


@pytest.fixture(autouse=True)
def _models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audited.models(tmp_path)
    monkeypatch.chdir(tmp_path)


def test_a_lock_is_written_and_holds(run: Run, golden: Golden) -> None:
    done = run("lock", "good")
    assert (done.code, done.err) == (0, "")
    golden("lock/written.txt", done.out)
    golden("lock/good.lock", Path("mscope.lock").read_text("utf-8"))
    assert run("lock", "--check").code == 0
    assert run("lock", "good", "--check").code == 0
    assert run("audit", "good", "--locked").code == 0


def test_the_same_models_give_the_same_bytes(run: Run) -> None:
    Path("other").symlink_to("good")
    run("lock", "good", "other")
    before = Path("mscope.lock").read_bytes()
    run("lock", "other", "good")
    assert Path("mscope.lock").read_bytes() == before
    run("lock")
    assert Path("mscope.lock").read_bytes() == before


def test_any_drift_fails_and_is_a_diff(run: Run, golden: Golden) -> None:
    run("lock", "good")
    Path("good/README.md").write_text(audited.CARD + "more\n")
    Path("good/tokenizer.json").unlink()
    Path("good/new.txt").write_text("new")
    done = run("lock", "--check")
    assert done.code == 1
    golden("lock/drift.txt", done.out)
    found = document(run("lock", "--check", "--json").out)
    assert [each["file"] for each in found["drift"]] == ["README.md", "new.txt", "tokenizer.json"]
    findings = document(run("audit", "good", "--locked", "--select", "L", "--json").out)["findings"]
    assert [each["file"] for each in findings] == ["README.md", "new.txt", "tokenizer.json"]
    assert run("audit", "good", "--select", "L").code == 0  # not asked for
    assert run("lock").code == 0
    assert run("lock", "--check").code == 0


def test_changed_weights_drift_although_sizes_are_the_same(run: Run) -> None:
    run("lock", "good")
    path = Path("good/model.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "model.safetensors" in run("lock", "--check").out
    run("lock", "--headers", "good", "--lock", "h.lock")
    data[-1] ^= 1
    path.write_bytes(data)
    assert "header-sha256" in Path("h.lock").read_text()
    assert run("lock", "--check", "--lock", "h.lock").code == 0  # blind to values, as it says


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def _linked(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("headers", [(), ("--headers",)], ids=["content", "headers"])
@pytest.mark.parametrize(
    ("file", "damage", "says"),
    [
        ("model.safetensors", _cut, "+ model.safetensors: "),
        ("model.safetensors", lambda path: path.write_bytes(b"x"), "+ model.safetensors: 1 bytes"),
        ("model.safetensors", _linked, "+ model.safetensors: dangling link to nowhere"),
        ("model.safetensors", _piped, "+ model.safetensors: a FIFO"),
        ("config.json", lambda path: path.write_text("{"), "+ config.json: 1 bytes"),
        ("tokenizer.json", _linked, "+ tokenizer.json: dangling link to nowhere"),
        ("new", os.mkfifo, "+ new: a FIFO"),
        ("new", lambda path: path.symlink_to("."), "+ new: folder link to ."),
    ],
)
def test_damage_is_drift(
    run: Run, file: str, damage: Callable[[Path], object], says: str, headers: tuple[str, ...]
) -> None:
    run("lock", "good", *headers)
    damage(Path("good", file))
    done = run("lock", "--check")
    assert (done.code, says in done.out) == (1, True), done
    assert "format" not in done.out
    found = document(run("audit", "good", "--locked", "--select", "L", "--json").out)
    assert not found["passed"]
    (finding,) = found["findings"]
    assert says in finding["message"]


def test_of_a_damaged_model_the_other_files_are_as_they_were(run: Run) -> None:
    run("lock", "good", "--headers")
    Path("good/config.json").write_text("{")
    (drift,) = document(run("lock", "--check", "--json").out)["drift"]
    assert drift["file"] == "config.json"


def test_what_is_no_file_is_locked_as_what_it_is(run: Run) -> None:
    os.mkfifo("good/pipe")
    Path("good/gone").symlink_to("nowhere")
    assert run("lock", "good").code == 0
    assert run("lock", "--check").code == 0
    Path("good/gone").unlink()
    assert "- gone: dangling link to nowhere" in run("lock", "--check").out


def test_models_of_a_lock_are_found_from_its_folder(run: Run, tmp_path: Path) -> None:
    run("lock", "good")
    (tmp_path / "sub").mkdir()
    assert run("lock", "--check", "--lock", "../mscope.lock", cwd=tmp_path / "sub").code == 0
    assert (
        run("audit", "../good", "--locked", "--lock", "../mscope.lock", cwd=tmp_path / "sub").code
        == 0
    )


def test_one_that_fails_does_not_stop_the_others(run: Run) -> None:
    done = run("lock", "bad", "good", "./gone")
    assert done.code == 4
    assert "bad: model.safetensors" in done.err
    assert "./gone" in done.err
    assert 'target = "./good"' in Path("mscope.lock").read_text()
    assert 'target = "./bad"' not in Path("mscope.lock").read_text()
    assert run("lock", "--check", "good", "bad").code == 4


def test_a_name_that_is_no_text_fails_one_model_and_not_the_lock(run: Run) -> None:
    audited.models(Path("more"))
    (Path("more/good") / os.fsdecode(b"\xff.txt")).write_text("x")
    done = run("lock", "more/good", "good")
    assert done.code == 3
    assert "cannot be locked" in done.err
    assert 'target = "./good"' in Path("mscope.lock").read_text()


def test_a_model_that_is_not_locked_is_said(run: Run) -> None:
    run("lock", "good")
    audited.models(Path("more"))
    done = run("lock", "--check", "more/good")
    assert done.code == 3
    assert "is not in the lock" in done.err
    found = run("audit", "more/good", "--locked", "--select", "L")
    assert found.code == 1
    assert "is not in mscope.lock" in found.out


def test_usage(run: Run) -> None:
    assert run("lock").code == 2
    assert run("lock", "--check").code == 2
    assert run("audit", "good", "--locked").code == 2
    Path("mscope.lock").write_text("<<<<<<< HEAD\n")
    assert run("lock", "good").code == 2
    assert Path("mscope.lock").read_text() == "<<<<<<< HEAD\n"


def test_a_lock_inside_the_model_says_nothing(run: Run, tmp_path: Path) -> None:
    inside = tmp_path / "good"
    assert run("lock", ".", cwd=inside).code == 2
    assert not (inside / "mscope.lock").exists()
    assert run("lock", ".", "--lock", "../x.lock", cwd=inside).code == 0


def test_a_lock_that_a_link_leads_to_is_the_models(run: Run) -> None:
    assert run("lock", "good").code == 0
    Path("mscope.lock").rename("good/mscope.lock")
    Path("mscope.lock").symlink_to("good/mscope.lock")
    assert run("lock", "good", "--check").code == 2
    assert run("audit", "good", "--locked").code == 2


def test_a_lock_that_a_model_brings_is_a_finding(run: Run) -> None:
    Path("good/mscope.lock").write_text("version = 1\n")
    done = run("audit", "good", "--select", "P008")
    assert done.code == 1
    assert "mscope.lock" in done.out
    assert run("audit", "good", "--locked", "--lock", "good/mscope.lock").code == 2


def test_built_ins_have_nothing_to_lock(run: Run) -> None:
    assert run("lock", "builtin:bert-base-uncased").code == 3


def test_a_branch_is_asked_for_at_the_hub(hub: HubServer, add: AddRepo, run: Run) -> None:  # noqa: F811
    repo = add("org/m", dict(audited.SHIPPED))
    assert run("lock", "org/m").code == 0
    first = Path("mscope.lock").read_text()
    assert f'revision = "{repo.main}"' in first
    assert run("lock", "--check").code == 0
    assert run("lock", "--check", "--offline").code == 0
    repo.commit({"config.json": content("config.json", b"{}")}, "main")
    done = run("lock", "--check")
    assert done.code == 1
    assert "+ revision: " + repo.main in done.out
    assert run("audit", "org/m", "--locked", "--select", "L").code == 1
