"""README's tables of rules and its policy, held against the code."""

from __future__ import annotations

import re
import tomllib

import pytest

from modelscope_cli.audit import policy_file, rules
from tests.running import ROOT

pytestmark = pytest.mark.docs

_README = ROOT / "README.md"
_TABLE = re.compile(r"(<!-- rules -->\n)(.*?)(<!-- /rules -->)", re.DOTALL)


def _rows() -> str:
    rows = ["| rule | fails as | says |", "| --- | --- | --- |"]
    for family in rules.FAMILIES.values():
        rows.append(f"| **{family.letter}** | | {family.title} |")
        rows += [
            f"| {name} | {rule.severity} | {rule.title} |"
            for name, rule in rules.every().items()
            if name[0] == family.letter
        ]
    return "\n".join(rows) + "\n"


def test_readme_lists_every_rule(request: pytest.FixtureRequest) -> None:
    text = _README.read_text(encoding="utf-8")
    if request.config.getoption("--update-golden"):
        new = _TABLE.sub(lambda found: found[1] + _rows() + found[3], text)
        _README.write_text(new, encoding="utf-8", newline="\n")
        return
    found = _TABLE.search(text)
    assert found
    assert found[2] == _rows(), "--update-golden writes it anew"


def test_the_policy_in_readme_is_one() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", _README.read_text(encoding="utf-8"), re.DOTALL)
    (shown,) = (block for block in blocks if "[audit]" in block)
    found = policy_file.read(tomllib.loads(shown)["audit"], "README.md")
    assert found.fail_on == "warning"
    assert found.base.limits.parameters == 8 * 10**9
