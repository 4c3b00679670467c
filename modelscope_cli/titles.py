"""The first line of a report: which model, where from, in which format."""

from __future__ import annotations

from modelscope_cli.facts import ModelFacts, Unknown


def title(facts: ModelFacts) -> str:
    """`./my-model: safetensors, 2 files`; the default model says that it is one."""
    ref = facts.ref
    name = ref.id if ref.kind in ("hub", "cache") and ref.id else ref.target
    unread = isinstance(facts.tensors, Unknown)
    parts = [facts.config_file if unread and facts.config_file else ref.format or "several formats"]
    if not unread and ref.files and ref.files > 1:
        parts.append(f"{ref.files} files")
    if ref.revision:
        parts.append(f"revision {ref.revision[:7]}")
    if ref.kind == "builtin":
        parts = ["built in: configuration and tensor list, no weights"]
    shown = f"{name} (the default; name a MODEL to see yours)" if ref.default else name
    return f"{shown}: {', '.join(parts)}"
