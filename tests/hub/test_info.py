"""`info` of a model on the Hub: its card is read as well, once."""

from __future__ import annotations

import pytest

from tests.documents import document
from tests.hub.conftest import FILES, AddRepo
from tests.hub_server import HubServer
from tests.running import Run

CARD = "---\nlicense: mit\n---\n"


def test_the_licence_is_read_from_the_card(hub: HubServer, add: AddRepo, run: Run) -> None:
    repo = add("org/x", {**FILES, "README.md": CARD, "LICENSE": "MIT License\n"})
    card = document(run("info", "org/x", "--json").out)
    assert (card["licence"], card["licence_file"]) == ("mit", "README.md")
    served = [each for each in hub.log if "README.md" in each.target and each.status == 206]
    assert len(served) == 1
    assert not [each for each in hub.log if "LICENSE" in each.target]
    hub.log.clear()
    again = document(run("info", f"org/x@{repo.main}", "--json").out)
    assert again["licence"] == "mit"
    assert not hub.log


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "no model card, licence file or configuration says"),
        ({"LICENSE": "Ask my lawyer."}, "LICENSE is a text that is not known here"),
    ],
)
def test_no_licence_says_why(add: AddRepo, run: Run, files: dict[str, object], reason: str) -> None:
    add("org/x", {**FILES, **files})
    card = document(run("info", "org/x", "--json").out)
    assert (card["licence"], card["unknown"]["licence"]) == (None, reason)


def test_a_card_that_cannot_be_had_is_not_called_missing(
    hub: HubServer, add: AddRepo, run: Run
) -> None:
    add("org/x", {**FILES, "README.md": CARD})
    run("params", "org/x")
    card = document(run("info", "org/x", "--json", "--offline").out)
    assert card["licence"] is None
    assert card["unknown"]["licence"].startswith("could not be read: ")
