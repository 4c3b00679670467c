"""URIs of files: percent-encoded bytes, whatever a name holds."""

from __future__ import annotations

import os

import pytest

from modelscope_cli.facts import ModelRef
from modelscope_cli.render.places import address


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("a b", "a%20b"),
        ("é", "%C3%A9"),
        (os.fsdecode(b"\xff.bin"), "%FF.bin"),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_a_name_is_its_bytes(name: str, encoded: str) -> None:
    assert address(ModelRef("o/n", "hub", id="o/n"), name).endswith(f"/{encoded}")
