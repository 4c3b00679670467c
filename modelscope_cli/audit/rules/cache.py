"""Family C: what the HF cache holds, against what was downloaded."""

from __future__ import annotations

from modelscope_cli.audit.rule import Rule

RULES: tuple[type[Rule], ...] = ()
