"""Family M: how large a model may be, and of what kind."""

from __future__ import annotations

from modelscope_cli.audit.rule import Rule

RULES: tuple[type[Rule], ...] = ()
