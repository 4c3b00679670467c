"""`mscope cache ls`: what lies in the HF cache."""

# No `from __future__ import annotations`: Typer evaluates signatures at run time.

import os

from modelscope_cli import places
from modelscope_cli.analysis.cache import usage as cache_usage
from modelscope_cli.analysis.cache.facts import CacheFacts
from modelscope_cli.facts import Note
from modelscope_cli.options import CachePlace, Output
from modelscope_cli.options import command as command_
from modelscope_cli.report import Report
from modelscope_cli.reports import cache_ls as reports
from modelscope_cli.sources.hfcache import layout as cache_layout
from modelscope_cli.sources.hfcache import source as hfcache


@command_
def command(*, place: CachePlace, output: Output) -> Report:
    """List the repos in the HF cache, with sizes counted once and what is not in order."""
    folder, note = hfcache.cache_dir(place.cache_dir)
    notes = [*([note] if note else [])]
    if place.cache_dir is None and not os.path.lexists(folder):
        cache = CacheFacts(folder, ())
        notes.append(Note("there is no such folder: nothing has been downloaded yet"))
    else:
        cache = cache_layout.read_cache(folder)
    odd = [*cache.oddities, *(odd for repo in cache.repos for odd in repo.oddities)]
    if odd:
        notes.append(
            Note(f"{len(odd):,} things there make no sense: mscope cache doctor tells which")
        )
    return reports.report(folder, cache_usage.of_cache(cache), _own(), notes)


def _own() -> tuple[str, int] | None:
    """The cache that mscope keeps itself, and its bytes; None where it was never made."""
    folder = places.kept()
    if not os.path.isdir(folder):
        return None
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_size
            except OSError:
                continue  # another process has just put it away
    return folder, total
