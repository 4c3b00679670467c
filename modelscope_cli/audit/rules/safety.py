"""Family S: what could run code, or reach beyond the model."""

from __future__ import annotations

from modelscope_cli.audit.rule import Rule

RULES: tuple[type[Rule], ...] = ()
