"""Text that would do harm if it were shown as it is, and what harmless output looks like."""

from __future__ import annotations

import re

# Every one can be a tensor's name, a key or a string of a JSON file, and part of a message.
TEXTS = (
    "esc\x1b[31mred",
    "title\x1b]0;owned\x07",
    "clear\x1b[2J\x1b[H",
    "c1\x9b31m",
    "newline\nsecond line",
    "return\rover",
    "tab\tbed",
    "nul\0byte",
    "back\x08space",
    "form\x0cfeed\x0b",
    "del\x7f",
    "next\x85line\u2028para\u2029graph",
    "rtl\u202egnp.exe",
    "isolate\u2066x\u2069",
    "mark\u200f\u200e\u061c",
    "zero\u200bwidth\ufeff",
    "tag\U000e0041\U000e007f",
    "[red]rich[/red]",
    "[/]",
    "[link=https://example.org]x[/link]",
    "[bold",
    ":warning: emoji",
    "a|b|c",
    "``code`` `x`",
    "**bold** _it_ ~~s~~",
    "<script>alert(1)</script>",
    "<!-- comment",
    "![img](https://example.org/x.png)",
    "&amp;&#x3c;",
    "# heading",
    "---",
    "::error::x",
    "  ::error file=a::x",
    "\t::set-output name=a::x",
    "\n::add-mask::x",
    "a.::error::x",
    "##[error]x",
    "a ##[section]x",
    "##[group]a##[endgroup]",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "back\\slash",
    "\\",
    "\\\\",
    "\\x1b[31m",
    "C:\\temp\\new",
    'quote"s',
    "comma,ted",
    "'single'",
    "%s %d {0} {} {x}",
    "{}.{0..3}.w",
    "層.重み",
    "e\u0301",
    "👩\u200d👩\u200d👧",
    "a b  c",
    " leading and trailing ",
    "x" * 65_000,
    ".".join(["1"] * 5_000),
    "..",
    ".",
    "0",
    "null",
    "true",
)  # fmt: skip
_SGR = re.compile(r"\x1b\[[0-9;]*m")
_COMMAND = re.compile(r"^\s*::", re.MULTILINE)


def harm(text: str, *, tabs: bool = False, styled: bool = False) -> str | None:
    """What is wrong with output: a character, or a line that a CI runner would obey."""
    if styled:
        if "\x1b[31m" in text:
            return "a colour that is not ours"
        text = _SGR.sub("", text)
    bare = text.replace("\n", "").replace("\t", "") if tabs else text.replace("\n", "")
    if not bare.isprintable():
        return repr(next(c for c in bare if not c.isprintable()))
    if _COMMAND.search(text) or "##[" in text:
        return "a workflow command"
    return None
