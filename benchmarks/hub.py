"""The Hub's goals, measured against a Hub of our own on this machine that waits before it answers.

`python -m benchmarks.hub` measures; `python -m benchmarks.hub serve FOLDER SECONDS [one-request]`
is that Hub: FOLDER's sub-folders are its models.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import deepseek, measure
from tests.hub_server import HubServer, Repo, from_folder

LATENCY = 0.05  # seconds before every answer
SINGLE_TENSORS = 104  # all-MiniLM-L6-v2's
_HUGE, _SINGLE = "org/huge", "org/single"
_LIBRARY = "import huggingface_hub as h; print(len(h.{}('org/huge').weight_map))"


class Measured(NamedTuple):
    """One goal and how it came out."""

    what: str
    against: str
    goal: str
    found: str
    met: bool


def all_goals(runs: int) -> Iterator[Measured]:
    """Every goal of reading from the Hub, each in pairs of runs."""
    with tempfile.TemporaryDirectory() as folder:
        huge, single = Path(folder, *_HUGE.split("/")), Path(folder, *_SINGLE.split("/"))
        deepseek.write(str(huge))
        _write_single(single)
        with serving(folder):
            yield _faster(runs)
            yield _warm(runs, huge)
            yield _one_file(runs, single)
        with serving(folder, one_request=True):
            yield _short_cut(runs)


def _faster(runs: int) -> Measured:
    theirs = [sys.executable, "-c", _LIBRARY.format("get_safetensors_metadata")]
    found = measure.paired(_cold(_HUGE), theirs, runs)
    return Measured(
        "`params --fold` on 158 shards on a Hub 50 ms away, nothing kept",
        "huggingface_hub's `get_safetensors_metadata`",
        ">= 2.5 times faster",
        f"{1 / found.ratio:.2f} ({found.ours:.2f} s to {found.theirs:.2f} s)",
        found.ratio <= 1 / 2.5,
    )


def _short_cut(runs: int) -> Measured:
    theirs = [sys.executable, "-c", _LIBRARY.format("get_sharded_safetensors_metadata")]
    found = measure.paired(_cold(_HUGE), theirs, runs)
    return Measured(
        "158 shards where the Hub gives all headers in one answer",
        "a bare `get_sharded_safetensors_metadata`",
        "<= 1.3",
        f"{found.ratio:.2f} ({found.ours:.2f} s to {found.theirs:.2f} s)",
        found.ratio <= 1.3,
    )


def _warm(runs: int, folder: Path) -> Measured:
    with tempfile.TemporaryDirectory() as kept:
        warm = ["env", f"XDG_CACHE_HOME={kept}", _mscope(), "params", _HUGE, "--fold"]
        found = measure.paired(warm, [_mscope(), "params", str(folder), "--fold"], runs)
    return _more("the same a second time", found, 1, 0.3)


def _one_file(runs: int, folder: Path) -> Measured:
    local = [_mscope(), "params", str(folder), "--fold"]
    found = measure.paired(_cold(_SINGLE), local, runs)
    return _more("a model in one file on that Hub, nothing kept", found, 4, 0.25)


def _more(what: str, found: measure.Paired, latencies: int, seconds: float) -> Measured:
    more = found.ours - found.theirs
    allowed = latencies * LATENCY + seconds
    return Measured(
        what,
        "the same folder on disk",
        f"<= {latencies} x 50 ms + {seconds} s more",
        f"{more:.2f} s more ({found.ours:.2f} s to {found.theirs:.2f} s)",
        more <= allowed,
    )


def _cold(model: str) -> list[str]:
    """Our command with an empty cache of its own each time."""
    run = f'XDG_CACHE_HOME="$(mktemp -d)" exec "{_mscope()}" params {model} --fold'
    return ["sh", "-c", run]


def _mscope() -> str:
    return str(Path(sys.executable).with_name("mscope"))


def _write_single(folder: Path) -> None:
    tensors = [
        deepseek.Tensor(f"encoder.layer.{number}.attention.weight", "F32", (384, 384))
        for number in range(SINGLE_TENSORS)
    ]
    text, data_bytes = deepseek.header(tensors)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with (folder / "model.safetensors").open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        out.truncate(8 + len(text) + data_bytes)


@contextlib.contextmanager
def serving(folder: str, *, one_request: bool = False) -> Iterator[None]:
    """A Hub in a process of its own, and an environment that asks it and has nothing cached."""
    command = [sys.executable, "-m", "benchmarks.hub", "serve", folder, str(LATENCY)]
    process = subprocess.Popen(
        [*command, *(["one-request"] if one_request else [])], stdout=subprocess.PIPE, text=True
    )
    before = dict(os.environ)
    try:
        with tempfile.TemporaryDirectory() as home:
            assert process.stdout is not None
            os.environ["HF_ENDPOINT"] = process.stdout.readline().strip()
            os.environ |= {"HF_HOME": home, "TMPDIR": home, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
            os.environ.pop("HF_HUB_OFFLINE", None)
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        process.kill()
        process.wait()


def serve(folder: str, latency: float, *, one_request: bool) -> None:
    """Be a Hub until killed; the first line printed is its address."""
    server = HubServer(latency=latency)
    for path in sorted(Path(folder).glob("*/*")):
        repo = server.add(Repo(f"{path.parent.name}/{path.name}", from_folder(path)))
        if one_request and deepseek.INDEX in repo.commits[repo.main]:
            repo.serve_all_headers(deepseek.INDEX)
    print(server.url, flush=True)
    while True:
        time.sleep(60)


def main() -> int:
    """Measure every goal; exit code 1 where one is missed."""
    missed = 0
    for each in all_goals(int(sys.argv[1]) if len(sys.argv) > 1 else 7):
        missed += not each.met
        print(f"{'ok  ' if each.met else 'MISS'} {each.what}: {each.found}", flush=True)
        print(json.dumps(each._asdict()), file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], float(sys.argv[3]), one_request="one-request" in sys.argv)
    sys.exit(main())
