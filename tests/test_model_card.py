"""The licence out of the files beside a model: which of them counts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from modelscope_cli.analysis.licence import Licence
from modelscope_cli.facts import FileFact, ModelFacts, ModelRef, Unknown
from modelscope_cli.model_card import licence_of

CARD = "---\nlicense: mit\n---\n"
APACHE = "Apache License\nVersion 2.0, January 2004\n"


def facts(folder: Path, **more: Any) -> ModelFacts:
    ref = ModelRef("m", "directory", path=str(folder))
    return ModelFacts(ref, Unknown("not read"))._replace(**more)


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")


def test_the_card_comes_first(tmp_path: Path) -> None:
    write(tmp_path, README_md=CARD, LICENSE=APACHE)
    assert licence_of(facts(tmp_path)) == Licence("mit", "README.md")


def test_then_the_text_then_the_configuration(tmp_path: Path) -> None:
    write(tmp_path, README_md="# No front matter\n", LICENSE=APACHE)
    config = {"license": "gpl-3.0"}
    assert licence_of(facts(tmp_path, config=config)) == Licence("apache-2.0", "LICENSE")
    (tmp_path / "LICENSE").unlink()
    assert licence_of(facts(tmp_path, config=config)) == Licence("gpl-3.0", "config.json")


def test_a_gguf_says_it_itself(tmp_path: Path) -> None:
    file = FileFact("m.gguf", "gguf", 10, 10, {"general.license": "apache-2.0"})
    assert licence_of(facts(tmp_path, files=(file,))) == Licence("apache-2.0", "m.gguf")


def test_files_beside_one_file(tmp_path: Path) -> None:
    write(tmp_path, README_md=CARD, model_bin="")
    ref = ModelRef("m", "file", path=str(tmp_path / "model.bin"))
    assert licence_of(ModelFacts(ref, Unknown("-"))) == Licence("mit", "README.md")


def test_no_licence_says_why(tmp_path: Path) -> None:
    assert "no model card" in _reason(facts(tmp_path))
    write(tmp_path, LICENSE="Ask my lawyer.")
    assert _reason(facts(tmp_path)) == "LICENSE is a text that is not known here"
    assert "built-in" in _reason(ModelFacts(ModelRef("b", "builtin"), Unknown("-")))


def test_what_could_hang_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "README.md")
    (tmp_path / "LICENSE").symlink_to("LICENSE")
    (tmp_path / "COPYING").mkdir()
    assert "no model card" in _reason(facts(tmp_path, config={"license": ["mit"]}))


def test_only_the_start_of_a_large_card_is_read(tmp_path: Path) -> None:
    write(tmp_path, README_md=f"---\nlicense: mit\n---\n{'x' * 10**6}")
    assert licence_of(facts(tmp_path)) == Licence("mit", "README.md")


def _reason(given: ModelFacts) -> str:
    found = licence_of(given)
    assert isinstance(found, Unknown)
    return found.reason
