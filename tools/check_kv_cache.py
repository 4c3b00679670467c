"""Compare `kv_cache` with what a forward leaves: `python -m tools.check_kv_cache [--only TYPE …]`.

Every class that generates text runs twice: tiny on the CPU for real, and as its default
configuration makes it on the meta device. What the two leave must be what the config.json that
transformers would write gives here, to the byte. Writes data/knowledge/kv_cache.jsonl, which says
what is exact, and docs/kv-cache.md; `--dry` prints instead. Takes ten minutes of a processor.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tools import knowledge_tables

TABLE = "kv_cache"
PAGE = Path(__file__).parent.parent / "docs" / "kv-cache.md"
_NEEDED = ("layer_types", "indexer_types")
_UNKNOWN = "differs: unknown here"
EQUAL, NONE = "equal", "keeps none"
_MAPPINGS = (
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
    "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES",
    "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES",
    "MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES",
)


Truth = dict[str, Any] | str  # the fields of a `Left`, or why there is none


class Forward(NamedTuple):
    """One forward: `equal`, `keeps none`, `differs: …`, or `not run: …`."""

    outcome: str
    when: str | None = None
    decoder: str | None = None

    @property
    def ran(self) -> bool:
        """Whether there was a truth to compare with."""
        return not self.outcome.startswith("not run")


class Compared(NamedTuple):
    """A class and its two forwards."""

    model_type: str
    class_name: str
    real: Forward
    meta: Forward

    @property
    def verdict(self) -> str:
        """The group of `kv_cache.jsonl` that the class belongs to.

        What is unknown here for one configuration is so when asked, and takes nothing from another.
        """
        ran = {forward.outcome for forward in (self.real, self.meta) if forward.ran}
        if EQUAL in ran:
            ran = {outcome for outcome in ran if not outcome.startswith(_UNKNOWN)}
        groups = {frozenset((EQUAL,)): "exact", frozenset((NONE,)): "none", frozenset(): "untried"}
        return groups.get(frozenset(ran), "differs")


def classes() -> list[tuple[str, str]]:
    """Model type and class, of every class that is said to generate."""
    from transformers.models.auto import modeling_auto

    found: dict[tuple[str, str], None] = {}
    for mapping in _MAPPINGS:
        for model_type, names in getattr(modeling_auto, mapping).items():
            for name in (names,) if isinstance(names, str) else names:
                found[model_type, name] = None
    return sorted(found)


def run(job: tuple[str, str]) -> tuple[str, str, Truth, Truth]:
    """Both forwards of a class: what they left, or why they left nothing."""
    import torch

    from tools.kv_cache_truth import left, left_on_meta

    torch.set_num_threads(1)
    return *job, _left(left, job), _left(left_on_meta, job)


def _left(forward: Any, job: tuple[str, str]) -> Truth:
    from tools.kv_cache_truth import NoCache

    try:
        found: dict[str, Any] = forward(*job)._asdict()
    except NoCache:
        return NONE
    except Exception as error:
        return f"not run: {type(error).__name__}: {' '.join(str(error).split())[:90]}"
    return found


def compared(class_name: str, truth: Truth) -> Forward:
    """What was left against ours."""
    if isinstance(truth, str):
        return Forward(truth)
    from modelscope_cli.analysis.memory.kv.cache import Request, counted
    from modelscope_cli.facts import Unknown
    from modelscope_cli.knowledge import configs

    size = 8 * truth["dtype_bytes"]
    request = Request(truth["batch"], truth["tokens"], truth["encoder_tokens"], size, size)
    decoder = configs.text(truth["config"])
    about = (truth["when"], decoder.get("model_type"))
    ours = counted(truth["config"], class_name, request)
    if isinstance(ours, Unknown):
        return Forward(f"{_UNKNOWN}, {ours.reason}", *about)
    if (ours.bytes, ours.peak_bytes) == (truth["bytes"], truth["storage_bytes"]):
        return Forward(EQUAL, *about)
    return Forward(f"differs: {truth['bytes']:,} bytes, {ours.bytes:,} here", *about)


def truths(
    jobs: Sequence[tuple[str, str]], processes: int, kept: Path | None
) -> Iterator[tuple[str, str, Truth, Truth]]:
    """In processes that are renewed, for some leave much behind; `kept` is not run again."""
    lines = kept.read_text(encoding="utf-8").splitlines() if kept and kept.exists() else []
    before = {(line[0], line[1]): line for line in map(json.loads, lines)}
    yield from (before[job] for job in jobs if job in before)
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, maxtasksperchild=40) as pool:
        for found in pool.imap_unordered(run, [job for job in jobs if job not in before]):
            if kept is not None:
                with kept.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(found) + "\n")
            yield found


def records(rows: Iterable[Compared]) -> dict[str, Any]:
    """The lines of `kv_cache.jsonl`."""
    found: dict[str, dict[str, Any]] = {}
    decoders = set()
    for row in rows:
        line = found.setdefault(row.model_type, {})
        line.setdefault(row.verdict, []).append(row.class_name)
        for forward in (row.real, row.meta):
            line |= {"when": forward.when} if forward.when else {}
            decoders |= {forward.decoder} if forward.decoder else set()
    # A decoder saved by itself has its own type: "qwen2_vl_text".
    found |= {name: {"part": True} for name in decoders - set(found)}
    for model_type, line in found.items():
        line |= _needs(model_type)
    return found


def _needs(model_type: str) -> dict[str, list[str]]:
    """The keys by which the class tells one layer from another."""
    from transformers import CONFIG_MAPPING

    try:
        decoder = CONFIG_MAPPING[model_type]().get_text_config(decoder=True)
    except Exception:  # a default that the class itself refuses
        return {}
    needs = [key for key in _NEEDED if getattr(decoder, key, None) is not None]
    needs += ["per_layer_config"] if decoder.is_heterogeneous else []
    return {"needs": needs} if needs else {}


def page(rows: Sequence[Compared], version: str) -> str:
    """The committed table."""
    verdicts = Counter(row.verdict for row in rows)
    real = [row.real for row in rows if row.real.ran and row.real.outcome != NONE]
    equal = sum(forward.outcome == EQUAL for forward in real)
    lines = [
        "# The KV cache, compared",
        "",
        f"Written by `python -m tools.check_kv_cache` with transformers {version}: bytes that a "
        "forward leaves in the cache (as tensors, and as storage) against those that "
        "`mscope memory` counts from the config.json alone. *tiny* is a small model run on the "
        "CPU, its prompt longer than its window; *default* is the class's own default "
        "configuration on the meta device.",
        "",
        f"Of {len(real)} classes that run tiny and keep a cache {equal} are equal to the byte "
        f"({equal / max(len(real), 1):.1%}). In all {verdicts['exact']} are exact, "
        f"{verdicts['differs']} differ, {verdicts['none']} keep none, {verdicts['untried']} did "
        "not run here and are estimates.",
        "",
        "| model type | class | tiny | default |",
        "| --- | --- | --- | --- |",
        *(_table_row(row) for row in rows),
        "",
    ]
    return "\n".join(lines)


def _table_row(row: Compared) -> str:
    cells = (row.model_type, row.class_name, row.real.outcome, row.meta.outcome)
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def main(argv: Sequence[str]) -> int:
    """Compare all, or some types."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="TYPE", help="these model types, printed")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--truths", type=Path, metavar="FILE", help="keep what forwards left there")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    options = parser.parse_args(argv)
    from transformers import __version__

    jobs = [job for job in classes() if not options.only or job[0] in options.only]
    found = sorted(truths(jobs, options.processes, options.truths), key=lambda each: each[:2])
    rows = [
        Compared(model_type, name, *(compared(name, truth) for truth in both))
        for model_type, name, *both in found
    ]
    text = page(rows, __version__)
    if options.only or options.dry:
        sys.stdout.write(text)
        return 0
    knowledge_tables.write(TABLE, records(rows))
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
