"""Licences out of model cards and licence texts; PyYAML tells what a card says."""

from __future__ import annotations

from typing import Any

import pytest

from modelscope_cli.analysis.licence import of_card, of_text

yaml: Any = pytest.importorskip("yaml", reason="a whole YAML parser reads the same cards")

CARDS = {
    "license: apache-2.0": "apache-2.0",
    "license: 'mit'": "mit",
    'license: "mit"   # as it is': "mit",
    "license: llama3.1 # comment": "llama3.1",
    "language:\n- en\n- zh\nlicense: apache-2.0\ntags:\n- a": "apache-2.0",
    "license:\n- mit\n- apache-2.0": "mit, apache-2.0",
    "license:\n  - mit\n  - apache-2.0\nlanguage: en": "mit, apache-2.0",
    "license: [mit, 'apache-2.0']": "mit, apache-2.0",
    "license: other\nlicense_name: tongyi-qianwen\nlicense_link: LICENSE": "tongyi-qianwen",
    "license_name: tongyi\nlicense: Other": "tongyi",
    "license: other": "other",
    "license: mit\nlicense_name: unused": "mit",
    "license: 'it''s mine'": "it's mine",
    "license:   openrail++  ": "openrail++",
    "license: a#b": "a#b",
    "license:": None,
    "license: null": None,
    "license: ~": None,
    "license: ''": None,
    "language: en": None,
    "model-index:\n- name: x\n  results:\n  - metrics:\n    - license: mit": None,
    "  license: mit": None,
    "": None,
}


@pytest.mark.parametrize("fields", CARDS, ids=range(len(CARDS)))
def test_a_card_says_its_licence(fields: str) -> None:
    card = f"---\n{fields}\n---\n# A model\nlicense: gpl-3.0\n"
    assert of_card(card.encode()) == CARDS[fields]
    # What the card says of itself, read by a whole YAML parser.
    said: Any = yaml.safe_load(fields) if fields != "  license: mit" else None
    name = (said or {}).get("license")
    if str(name).lower() == "other":
        name = said.get("license_name", name)
    assert CARDS[fields] == (", ".join(name) if isinstance(name, list) else name or None)


@pytest.mark.parametrize(
    "card",
    [
        b"",
        b"license: mit\n",
        b"# A model\n---\nlicense: mit\n---\n",
        b"---\nlicense: mit\n",
        b"\xff\xfe\x00",
        b"---\n" + b"a: b\n" * 50_000,
        b"---\n" + b"- " * 100_000,
    ],
)
def test_what_is_no_front_matter_says_nothing(card: bytes) -> None:
    assert of_card(card) is None


def test_windows_lines_and_byte_order_marks() -> None:
    assert of_card("\ufeff---\r\nlicense: mit\r\n---\r\n".encode()) == "mit"


def test_a_long_name_is_cut() -> None:
    assert len(of_card(b"---\nlicense: " + b"x" * 10_000 + b"\n---\n") or "") == 200


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("\n   Apache License\n   Version 2.0, January 2004\n", "apache-2.0"),
        ("MIT License\n\nCopyright (c) 2024 X\n", "mit"),
        ("Permission is hereby granted, free of charge, to any\nperson obtaining", "mit"),
        ("GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007", "gpl-3.0"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\n Version 3, 19 November 2007", "agpl-3.0"),
        ("LLAMA 2 COMMUNITY LICENSE AGREEMENT\n", "llama2"),
        ("Attribution-NonCommercial 4.0 International\n", "cc-by-nc-4.0"),
        ("Attribution 4.0 International\n", "cc-by-4.0"),
        ("Neither the name of the copyright holder nor the names of its\n", "bsd-3-clause"),
        ("All rights reserved.", None),
        ("", None),
    ],
)
def test_a_licence_text_is_known_by_its_words(text: str, name: str | None) -> None:
    assert of_text(text.encode()) == name
