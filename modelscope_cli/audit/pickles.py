"""Verdicts on what pickles name: ours for what tensors need, a scanner's for the rest.

The scanner is picklescan (extra `scan`). It is shown names only, in a small pickle of our own:
nothing of a model passes through its parser, so that no trick with the parser can mislead it.
"""

from __future__ import annotations

import _compat_pickle
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from modelscope_cli.errors import MissingExtra
from modelscope_cli.formats.containers.search import Pickle
from modelscope_cli.formats.pickles.listing import COMPUTED
from modelscope_cli.formats.torch_globals import BUILDERS, SCRIPT_BUILDERS, SCRIPT_PREFIX

Name = tuple[str, str]  # a module and what is taken from it, as the pickle has them

INERT, INNOCUOUS, UNKNOWN, DANGEROUS = "inert", "innocuous", "unknown", "dangerous"
_GRAVEST_FIRST = (DANGEROUS, UNKNOWN, INNOCUOUS)
_OF_PICKLESCAN = {"dangerous": DANGEROUS, "suspicious": UNKNOWN, "innocuous": INNOCUOUS}
MAX_PARTS = 12  # of a dotted name that is taken apart: real ones have three
EXTRA = "scan"


class Named(NamedTuple):
    """One global that tensors do not need, and where it was met."""

    name: Name
    inside: str | None

    @property
    def shown(self) -> str:
        """`os.system`."""
        return "a name computed while loading" if self.name == COMPUTED else ".".join(self.name)


def foreign(pickles: Iterable[Pickle]) -> Iterator[Named]:
    """The globals that are not of torch's own list, each once, with the first place."""
    seen: set[Name] = set()
    for pickle in pickles:
        for name in pickle.names:
            if name not in seen and not is_inert(name, pickle.script):
                seen.add(name)
                yield Named(name, pickle.inside)


def is_inert(name: Name, script: bool = False) -> bool:
    """Whether it only makes tensors: what torch loads with `weights_only`, and TorchScript's."""
    full = ".".join(_python3(name))
    if script and (full in SCRIPT_BUILDERS or full.startswith(SCRIPT_PREFIX)):
        return True
    return full in BUILDERS


def _python3(name: Name) -> Name:
    """What Python 3 reads a name of Python 2 as, and torch its own older ones."""
    if name[0] == "torch.tensor":
        return "torch._tensor", name[1]
    found = _compat_pickle.NAME_MAPPING.get(name, name)
    return _compat_pickle.IMPORT_MAPPING.get(found[0], found[0]), found[1]


def verdicts(names: Iterable[Name]) -> Mapping[Name, str]:
    """DANGEROUS, UNKNOWN or INNOCUOUS for each name. Raises MissingExtra without a scanner."""
    names = list(dict.fromkeys(names))
    readings = {name: tuple(_readings(name)) for name in names}
    said = _asked([each for reading in readings.values() for each in reading])
    return {name: _gravest(name, readings[name], said) for name in names}


def _gravest(name: Name, readings: Sequence[Name], said: Mapping[Name, str]) -> str:
    """What is said of a name is the worst that is said of any way to read it."""
    if name == COMPUTED:
        return DANGEROUS
    found = {said.get(each, UNKNOWN) for each in readings}
    if DANGEROUS in found:
        return DANGEROUS
    return said.get(name, UNKNOWN)


def _readings(name: Name) -> Iterator[Name]:
    """All that a name may come to.

    Python 2's names are Python 3's others; `a` and `b.c` is `a.b` and `c`; and since a module's
    imports are its attributes, `torch.serialization` and `os.system` is `os` and `system`.
    """
    for module, attribute in dict.fromkeys((name, _python3(name))):
        yield module, attribute
        parts = attribute.split(".")[-MAX_PARTS:]
        for end in range(1, len(parts)):
            rest = ".".join(parts[end:])
            yield ".".join((module, *parts[:end])), rest
            yield parts[end - 1], rest


def _asked(names: Sequence[Name]) -> Mapping[Name, str]:
    try:
        import logging

        from picklescan.scanner import scan_pickle_bytes
    except ImportError as error:
        what = "nothing judges the globals of pickles: no scanner is installed"
        raise MissingExtra(what, EXTRA) from error
    import io

    logging.getLogger("picklescan").setLevel(logging.CRITICAL + 1)  # it speaks on stderr
    found = scan_pickle_bytes(io.BytesIO(_pickle_of(names)), "names")
    return {(each.module, each.name): _OF_PICKLESCAN[each.safety.value] for each in found.globals}


def _pickle_of(names: Sequence[Name]) -> bytes:
    """A pickle that names these and does nothing else."""
    globals_ = b"".join(_text(module) + _text(name) + b"\x930" for module, name in names)
    return b"\x80\x04" + globals_ + b"N."


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data
