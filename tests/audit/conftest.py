"""A model that no rule objects to, and how tests ask what the audit says of another."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.builders import folders
from tests.documents import document
from tests.running import Run

CARD = "---\nlicense: apache-2.0\n---\n# A model\n"


def good(**changes: object) -> dict[str, object]:
    """Files of a model that passes; a file that is None is left out, `__` in a name is a dot."""
    files: dict[str, object] = {
        "config.json": {**folders.BERT, "architectures": ["BertModel"]},
        "model.safetensors": folders.weights("a.weight", "b.weight"),
        "README.md": CARD,
        "tokenizer.json": {"version": "1.0"},
    }
    files |= {name.replace("__", "."): content for name, content in changes.items()}
    return {name: content for name, content in files.items() if content is not None}


class Said(NamedTuple):
    """What the audit said of a model."""

    code: int
    document: Mapping[str, Any]
    err: str

    def status(self, rule: str) -> str:
        return str(self._rule(rule)["status"])

    def reason(self, rule: str) -> str:
        return str(self._rule(rule)["reason"])

    def _rule(self, rule: str) -> Mapping[str, Any]:
        return next(each for each in self.document["rules"] if each["id"] == rule)

    def findings(self, rule: str) -> list[Mapping[str, Any]]:
        return [each for each in self.document["findings"] if each["rule"] == rule]

    def one(self, rule: str) -> Mapping[str, Any]:
        (found,) = self.findings(rule)
        return found


Audit = Callable[..., Said]


@pytest.fixture
def audit(run: Run, tmp_path: Path) -> Audit:
    """`audit(files, "--select", "F")`: those files written to a folder, and audited.

    `policy` is TOML for an `mscope.toml` above the model; `model` is audited instead.
    """

    def ask(
        files: Mapping[str, object] | None = None,
        *argv: str,
        policy: str | None = None,
        model: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Said:
        folder = tmp_path / "m"
        if files is not None:
            folders.write(folder, files)
        if policy is not None:
            (tmp_path / "mscope.toml").write_text(policy, encoding="utf-8")
        done = run("audit", model or "m", *argv, "--json", cwd=tmp_path, env=env)
        if not done.out:
            return Said(done.code, {}, done.err)
        return Said(done.code, document(done.out), done.err)

    return ask


def as_json(value: object) -> str:
    return json.dumps(value)
