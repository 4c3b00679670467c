r"""Untrusted text made harmless: for terminals, logs, CI runners, spreadsheets and markdown.

A name may hold terminal escapes, line breaks, bidirectional marks or a CI runner's workflow
command (`::error`, `##[`). All of it comes out as `\x1b`-like text; a backslash is doubled, so
that the original can be read back.
"""

from __future__ import annotations

_WORKFLOW = "##["
_FORMULA_STARTS = ("=", "+", "-", "@")


def visible(text: str) -> str:
    """`text` on one line, with nothing in it that a terminal or a CI runner would obey."""
    if not text.isprintable() or "\\" in text:
        text = "".join(map(_visible_character, text))
    if _WORKFLOW in text:
        text = text.replace(_WORKFLOW, "#\\x23[")
    if text.lstrip().startswith("::"):
        text = text.replace("::", "\\x3a:", 1)
    return text


def one_line(text: str, limit: int = 1900) -> str:
    """A message of our own that quotes untrusted text: harmless, and not longer than `limit`.

    Unlike `visible` it keeps backslashes as they are: a Windows path stays readable. The
    middle of a longer one is left out: what is wrong often stands behind a long name.
    """
    shown = "\\".join(visible(part) for part in text[: 2 * limit].split("\\"))
    if len(text) <= 2 * limit and len(shown) <= limit:
        return shown
    end = "\\".join(visible(part) for part in text[-limit // 4 :].split("\\"))
    return f"{shown[: limit // 2]} ... ({len(text):,} characters) ... {end[-limit // 4 :]}"


def spreadsheet(text: str) -> str:
    """`visible`, and no cell that a spreadsheet would run as a formula."""
    text = visible(text)
    if text.startswith(_FORMULA_STARTS):
        return f"\\x{ord(text[0]):02x}{text[1:]}"
    return text


def json_text(text: str) -> str:
    """Finished ASCII JSON without a workflow command in it; it still decodes to the same."""
    return text.replace(_WORKFLOW, "\\u0023\\u0023[") if _WORKFLOW in text else text


def _visible_character(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
