"""Family P: where a model comes from, and what it brings along."""

from __future__ import annotations

from modelscope_cli.audit.rule import Rule

RULES: tuple[type[Rule], ...] = ()
