"""What `mscope memory` shows: the rows, one row's parts, what stays unquantized, and why."""

from __future__ import annotations

from modelscope_cli.errors import UsageError
from modelscope_cli.facts import ModelFacts, Unknown
from modelscope_cli.footprint.result import Footprint
from modelscope_cli.report import Lines, Report
from modelscope_cli.reports.memory.document import RECORD_KEYS, document, records
from modelscope_cli.reports.memory.sections import Shown
from modelscope_cli.titles import title


def report(facts: ModelFacts, found: Footprint, *, check: bool = False) -> Report:
    """The footprint; with `check` the exit code says whether it fits, 1 where that is unknown."""
    shown = Shown(found)
    code = found.code
    if isinstance(code, Unknown):
        raise UsageError(f"--code: {code.reason}")
    return Report(
        "memory",
        facts.ref,
        title(facts) if code is None else "",
        # The call stands alone: it can be pasted, or piped into Python.
        lambda folded: list(shown.sections()) if code is None else [Lines(code.splitlines(), True)],
        lambda: document(found),
        RECORD_KEYS,
        lambda: records(found),
        (*facts.notes, *found.notes, *(shown.notes() if code is None else ())),
        fold=False,
        exit_code=int(check and not found.on_cards[0].fits),
    )
