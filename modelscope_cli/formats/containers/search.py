"""Which pickles a file holds, whatever its name says and however deep they lie in archives.

Nothing is unpacked to disk, and of an archive no more than `parts` allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from modelscope_cli.errors import FormatError, TruncatedFile
from modelscope_cli.formats.containers import streams, tars, zips
from modelscope_cli.formats.containers.names import ENDINGS
from modelscope_cli.formats.containers.parts import MAX_DEPTH, MAX_MEMBERS, Budget, Part, start_of
from modelscope_cli.formats.containers.runs import DOUBTFUL_BYTES, MAGICS, Run, runs
from modelscope_cli.formats.torch_legacy import Literal
from modelscope_cli.sources.base import OpenFile

_SEVEN_Z, _RAR = b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07"
_NUMPY = b"\x93NUMPY"


class Pickle(NamedTuple):
    """One pickle: where in the file (None: it is the file), and the (module, name) it names.

    `script`: in a TorchScript archive, which no Python unpickler reads.
    """

    inside: str | None
    names: tuple[tuple[str, str], ...]
    script: bool = False


class Searched(NamedTuple):
    """The pickles of a file, and what could not be looked into, with the reason."""

    pickles: tuple[Pickle, ...]
    unseen: tuple[str, ...] = ()


class _Search:
    def __init__(self, size: int) -> None:
        self.budget = Budget(size)
        self.found: list[Pickle] = []
        self.unseen: dict[str, None] = {}

    def file(self, file: OpenFile, inside: str, depth: int, certain: bool) -> None:
        """Look at a file, or a member of one, as everything that it might be read as."""
        if depth > MAX_DEPTH:
            self.blind(inside, f"archives in archives, more than {MAX_DEPTH} deep")
            return
        try:
            if file.size:
                self.contents(file, inside, depth, certain)
        except TruncatedFile:
            pass  # what is not there cannot be loaded either
        except FormatError as error:
            self.blind(inside, error.message)

    def contents(self, file: OpenFile, inside: str, depth: int, certain: bool) -> None:
        """The same of a file that has something in it."""
        head = start_of(file)
        if head.startswith((b"PK\3\4", b"PK\5\6")) or (depth == 0 and _ends_as_zip(file)):
            self.zip(file, inside, depth)
        if head.startswith(b"PK\3\4"):
            return  # no pickle starts so: there is nothing on the stack to push
        for test, look in _LOOKS:
            if test(head):
                look(self, file, inside, depth)
                return
        kind = streams.kind_of(head) if certain or depth == 0 else None
        if kind is not None and (certain or kind != "zlib"):
            self.stream(file, inside, depth, kind)
            return
        self.take(runs(file, certain), inside, depth)

    def blind(self, inside: str, why: str) -> None:
        """Something that was not looked into."""
        self.unseen[f"{inside}: {why}" if inside else why] = None

    def take(self, found: Iterable[Run], inside: str, depth: int, script: bool = False) -> None:
        """Keep pickles, and look into literals that look like some."""
        for run in found:
            self.found.append(Pickle(inside or None, run.listed.names, script))
            if run.unseen is not None:
                self.blind(inside, run.unseen)
            for data in run.listed.literals:
                if not self.allowed(inside):
                    return
                self.budget.take(len(data))
                within = f"{inside}!bytes" if inside else "bytes in it"
                self.file(Literal(within, data), within, depth + 1, False)

    def allowed(self, inside: str) -> bool:
        """Whether one more member may be looked at."""
        if self.budget.member():
            return True
        self.blind(inside, f"more than {MAX_MEMBERS:,} members")
        return False

    def zip(self, file: OpenFile, inside: str, depth: int) -> None:
        """The members of a zip archive: of torch, numpy, or any other."""
        members = []
        for member in zips.members(file):
            if not self.allowed(inside):
                break
            members.append(member)
        names = {member.name for member in members}
        script = any(name.endswith("/constants.pkl") for name in names)
        for member in members:
            self.member(member, f"{inside}/{member.name}" if inside else member.name, depth, script)

    def member(self, member: zips.Member, inside: str, depth: int, script: bool) -> None:
        """One member. A storage of raw numbers is told from a pickle by its first bytes."""
        certain = member.name.lower().endswith(ENDINGS)
        before = len(self.found)
        data = self.unpacked(member, inside, certain)
        if data is None:
            return
        if certain or not _is_storage(member.name) or start_of(data, 2) in MAGICS:
            self.file(data, inside, depth + 1, certain)
        if script:
            self.found[before:] = [each._replace(script=True) for each in self.found[before:]]
        if member.encrypted and certain and len(self.found) == before:
            self.blind(inside, "encrypted")

    def unpacked(self, member: zips.Member, inside: str, certain: bool) -> OpenFile | None:
        """A member's bytes: where they lie, or unpacked as far as is allowed and of use."""
        if member.method == zips.STORED:
            return member.data
        if member.method != zips.DEFLATED:
            self.blind(inside, f"compressed by method {member.method} of zip")
            return None
        start = streams.inflate(member.data, 512).data
        if not certain and _is_storage(member.name) and start[:2] not in MAGICS:
            return None
        doubtful = not certain and start[:2] not in MAGICS and not _may_hold(start)
        most = min(self.budget.bytes, DOUBTFUL_BYTES) if doubtful else self.budget.bytes
        return self.bounded(streams.inflate(member.data, most), inside, quiet=doubtful)

    def bounded(self, made: streams.Unpacked, inside: str, *, quiet: bool = False) -> OpenFile:
        """What was unpacked, as a file; that it was not all is said, unless `quiet`."""
        self.budget.take(len(made.data))
        if made.cut and not quiet:
            self.blind(inside, "unpacks to more than is looked at")
        return Literal(inside, made.data)

    def stream(self, file: OpenFile, inside: str, depth: int, kind: str) -> None:
        """A file that is compressed as a whole, as joblib and tar do."""
        made = streams.unpack(file, kind, self.budget.bytes)
        if made is None:
            self.blind(inside, f"compressed with {kind}, which is not looked into")
            return
        within = f"{inside}!{kind}" if inside else kind
        self.file(self.bounded(made, within), within, depth + 1, True)

    def tar(self, file: OpenFile, inside: str, depth: int) -> None:
        """The members of a tar archive; those of torch's old one as that was read."""
        members = list(self.few(tars.members(file), inside))
        old = {member.name.removeprefix("./") for member in members} >= tars.TORCH_MEMBERS
        for member in members:
            name = member.name.removeprefix("./")
            within = f"{inside}/{name}" if inside else name
            if old and name in ("storages", "tensors"):
                from modelscope_cli.formats.containers.old_torch import turns

                self.take(turns(member.data, name), within, depth)
            else:
                known = old and name in tars.TORCH_MEMBERS
                self.file(member.data, within, depth + 1, known or name.endswith(ENDINGS))

    def few(self, members: Iterable[tars.Member], inside: str) -> Iterator[tars.Member]:
        """As many of them as may be looked at."""
        for member in members:
            if not self.allowed(inside):
                return
            yield member

    def numpy(self, file: OpenFile, inside: str, depth: int) -> None:
        """An array of objects is a pickle behind a header."""
        head = start_of(file, 12)
        size = int.from_bytes(head[8:10] if head[6] == 1 else head[8:12], "little")
        start = (10 if head[6] == 1 else 12) + size
        text = file.read_at(0, min(start, file.size, 1_000_000))
        if b"O" in text.replace(b"fortran_order", b""):
            self.take(runs(Part(file, file.path, start, file.size), True), inside, depth)

    def seven_z(self, _file: OpenFile, inside: str, _depth: int) -> None:
        """No reader of models takes them apart by itself: unpacked, they may be anything."""
        self.blind(inside, "an archive (7z or RAR), which is not looked into")


_Look = Callable[[_Search, OpenFile, str, int], None]
_LOOKS: tuple[tuple[Callable[[bytes], bool], _Look], ...] = (
    (lambda head: head.startswith(_NUMPY) and len(head) >= 12, _Search.numpy),
    (lambda head: head.startswith((_SEVEN_Z, _RAR)), _Search.seven_z),
    (tars.is_tar, _Search.tar),
)


def _may_hold(start: bytes) -> bool:
    """Whether it begins as what may hold pickles."""
    return start.startswith(b"PK\3\4") or any(test(start) for test, _ in _LOOKS)


def _ends_as_zip(file: OpenFile) -> bool:
    return zips.has_end(zips.tail_of(file))


def _is_storage(name: str) -> bool:
    """`archive/data/12`: numbers as they are, where no opcode need be looked for."""
    return name.rpartition("/")[2].isdigit()


def search(file: OpenFile) -> Searched:
    """The pickles of one file, as everything that some loader would take it for.

    Raises nothing of the file's own: what cannot be read is `unseen`.
    """
    looking = _Search(file.size)
    looking.file(file, "", 0, file.path.lower().endswith(ENDINGS))
    return Searched(tuple(looking.found), tuple(looking.unseen))
