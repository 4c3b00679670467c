"""Which pickles a file holds, whatever its name says and however deep they lie in archives.

Nothing is unpacked to disk, and of an archive no more than `parts` allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

from modelscope_cli.errors import FormatError, TruncatedFile
from modelscope_cli.formats.containers import streams, tars, zips
from modelscope_cli.formats.containers.names import ENDINGS
from modelscope_cli.formats.containers.parts import MAX_DEPTH, MAX_MEMBERS, Budget, Part, start_of
from modelscope_cli.formats.containers.runs import DOUBTFUL_BYTES, MAGICS, Run, runs
from modelscope_cli.formats.pickles.listing import gave_up, is_cut, list_globals
from modelscope_cli.formats.torch_legacy import Literal
from modelscope_cli.sources.base import OpenFile

_SEVEN_Z, _RAR = b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07"
_NUMPY = b"\x93NUMPY"
_TOLD_BY = 65_536  # bytes that tell a pickle from text
# What an unpickler fails at with the first opcode, or makes a persistent id of.
_NO_PICKLES = (_SEVEN_Z, _RAR, _NUMPY, b"PK\3\4", b"PK\5\6")


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


_Member = TypeVar("_Member", tars.Member, zips.Member)


class _Search:
    def __init__(self, size: int, far: bool) -> None:
        self.far = far
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
        near = depth == 0 or not self.far
        if head.startswith((b"PK\3\4", b"PK\5\6")) or (near and zips.has_directory(file)):
            self.zip(file, inside, depth)
        for test, look in _LOOKS:
            if test(head):
                look(self, file, inside, depth)
        kind = streams.kind_of(head) if certain or depth == 0 else None
        if kind is not None:
            self.stream(file, inside, depth, kind)
        # Whatever else it is: a tar's first name may be a pickle, and `PK` is a persistent id.
        certain = certain and not head.startswith(_NO_PICKLES)
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
        """The members of a zip archive: of torch, numpy, or any other.

        Where one lies elsewhere than the directory says, some reader may go by their row.
        """
        members = list(self.few(zips.members(file), inside))
        names = {member.name for member in members}
        script = any(name.endswith("/constants.pkl") for name in names)
        found = [self.member(file, member, inside, depth, script) for member in members]
        if not all(found):
            for member in self.few(zips.in_a_row(file), inside):
                self.member(file, member, inside, depth, script)

    def member(
        self, file: OpenFile, member: zips.Member, inside: str, depth: int, script: bool
    ) -> bool:
        """One member; whether it lies where it should.

        A storage of raw numbers is told from a pickle by its first bytes.
        """
        certain = member.name.lower().endswith(ENDINGS)
        if self.far and not certain:
            return True  # each of thousands of storages would be a request
        inside = f"{inside}/{member.name}" if inside else member.name
        before = len(self.found)
        packed = zips.data_of(file, member)
        if packed is None or not packed.size:
            if member.packed:
                self.blind(inside, "does not lie where the archive's directory says")
            return not member.packed
        if member.method == zips.STORED:
            if certain or not _is_storage(member.name) or start_of(packed, 2) in MAGICS:
                self.file(packed, inside, depth + 1, certain)
        elif member.method == zips.DEFLATED:
            self.deflated(packed, member.name, inside, depth)
        else:
            self.blind(inside, f"compressed by method {member.method} of zip")
        if script:
            self.found[before:] = [each._replace(script=True) for each in self.found[before:]]
        if member.encrypted and certain and len(self.found) == before:
            self.blind(inside, "encrypted")
        return True

    def deflated(self, packed: OpenFile, name: str, inside: str, depth: int) -> None:
        """A member unpacked as far as is allowed and of use."""
        certain = name.lower().endswith(ENDINGS)
        magic = streams.inflate(packed, 2).data in MAGICS
        if certain or magic or not _is_storage(name):
            doubtful = not certain and not magic
            most = min(self.budget.bytes, DOUBTFUL_BYTES) if doubtful else self.budget.bytes
            self.made(streams.inflate(packed, most), inside, depth, certain)

    def stream(self, file: OpenFile, inside: str, depth: int, kind: str) -> None:
        """A file that is compressed as a whole, as joblib and tar do."""
        made = streams.unpack(file, kind, self.budget.bytes)
        within = f"{inside}!{kind}" if inside else kind
        if made is None:
            self.blind(inside, f"compressed with {kind}, which is not looked into")
        else:
            self.made(made, within, depth, True)

    def made(self, made: streams.Unpacked, inside: str, depth: int, certain: bool) -> None:
        """What was unpacked, as a file; where it was cut, that is said if it matters."""
        self.budget.take(len(made.data))
        self.file(Literal(inside, made.data), inside, depth + 1, certain)
        if made.cut and (not made.data or may_go_on(inside, made.data)):
            self.blind(inside, "unpacks to more than is looked at")

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

    def few(self, members: Iterable[_Member], inside: str) -> Iterator[_Member]:
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
        objects = b"O" in text.replace(b"fortran_order", b"")
        self.take(runs(Part(file, file.path, start, file.size), objects), inside, depth)

    def seven_z(self, _file: OpenFile, inside: str, _depth: int) -> None:
        """No reader of models takes them apart by itself: unpacked, they may be anything."""
        self.blind(inside, "an archive (7z or RAR), which is not looked into")


_Look = Callable[[_Search, OpenFile, str, int], None]
_LOOKS: tuple[tuple[Callable[[bytes], bool], _Look], ...] = (
    (lambda head: head.startswith(_NUMPY) and len(head) >= 12, _Search.numpy),
    (lambda head: head.startswith((_SEVEN_Z, _RAR)), _Search.seven_z),
    (tars.is_tar, _Search.tar),
)


def may_go_on(path: str, data: bytes) -> bool:
    """Whether more behind these bytes could belong to a pickle or an archive."""
    start = data[:512]
    if start.startswith(b"PK\3\4") or any(test(start) for test, _ in _LOOKS):
        return True
    listed, _ = list_globals(path, data[:_TOLD_BY])
    return listed.broken is None or is_cut(listed) or gave_up(listed) or bool(listed.names)


def _is_storage(name: str) -> bool:
    """`archive/data/12`: numbers as they are, where no opcode need be looked for."""
    return name.rpartition("/")[2].isdigit()


def search(file: OpenFile, *, far: bool = False) -> Searched:
    """The pickles of one file, as everything that some loader would take it for.

    `far`: each look costs a request, so that members of archives are chosen by their names.
    Raises nothing of the file's own: what cannot be read is `unseen`.
    """
    looking = _Search(file.size, far)
    looking.file(file, "", 0, file.path.lower().endswith(ENDINGS))
    return Searched(tuple(looking.found), tuple(looking.unseen))
