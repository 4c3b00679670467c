"""Which pickles a file holds, whatever its name says and however deep they lie in archives.

Nothing is unpacked to disk, and of an archive no more than `parts` allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

from modelscope_cli.errors import FormatError, TruncatedFile
from modelscope_cli.formats.containers import streams, tars, zips
from modelscope_cli.formats.containers.names import is_of_a_pickle, promises
from modelscope_cli.formats.containers.parts import MAX_DEPTH, MAX_MEMBERS, Budget, Part, start_of
from modelscope_cli.formats.containers.runs import MAGICS, Run, runs
from modelscope_cli.formats.pickles.listing import gave_up, is_cut, list_globals, steps
from modelscope_cli.formats.torch_legacy import Literal
from modelscope_cli.sources.base import OpenFile

_SEVEN_Z, _RAR = b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07"
_NUMPY = b"\x93NUMPY"
_TOLD_BY = 4_096  # bytes that tell a pickle or an archive from text and numbers
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
    def __init__(self, far: bool) -> None:
        self.far = far
        self.budget = Budget()
        self.opcodes = steps()
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
        if (kind := streams.kind_of(head)) is not None:
            within = f"{inside}!{kind.name}" if inside else kind.name
            self.unpacked(file, kind, within, depth, certain)
        # Whatever else it is: a tar's first name may be a pickle, and `PK` is a persistent id.
        certain = certain and not head.startswith(_NO_PICKLES)
        self.take(runs(file, certain, self.opcodes), inside, depth)

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
        certain = is_of_a_pickle(member.name)
        if self.far and not promises(member.name):
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
        else:
            packing = streams.of_zip(member.method)
            self.unpacked(packed, packing, inside, depth, certain, _is_storage(member.name))
        if script:
            self.found[before:] = [each._replace(script=True) for each in self.found[before:]]
        if member.encrypted and certain and len(self.found) == before:
            self.blind(inside, "encrypted")
        return True

    def unpacked(
        self,
        file: OpenFile,
        packing: streams.Packing,
        inside: str,
        depth: int,
        certain: bool,
        numbers: bool = False,
    ) -> None:
        """What is compressed, as a file: its start, and all of it where that is of use.

        `numbers`: its name is a storage's, told from a pickle by its first bytes.
        """
        if packing.engine is None:
            self.blind(inside, f"compressed with {packing.name}, which is not looked into")
            return
        self.budget.take(packing.block_bytes)
        made = streams.unpack(file, packing, _TOLD_BY if self.budget.bytes > 0 else 0)
        if numbers and not certain and made.data[:2] not in MAGICS:
            return
        if made.cut and may_go_on(inside, made.data) and self.budget.bytes > len(made.data):
            made = streams.unpack(file, packing, self.budget.bytes)
            self.budget.take(len(made.data))
        self.file(Literal(inside, made.data), inside, depth + 1, certain)
        if made.cut and may_go_on(inside, made.data):
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
                self.file(member.data, within, depth + 1, known or is_of_a_pickle(name))

    def few(self, members: Iterable[_Member], inside: str) -> Iterator[_Member]:
        """As many of them as may be looked at."""
        for member in members:
            if not self.allowed(inside):
                return
            yield member

    def numpy(self, file: OpenFile, inside: str, depth: int) -> None:
        """An array of objects is a pickle behind a header."""
        start = _numpy_header(start_of(file, 12))
        text = file.read_at(0, min(start, file.size, 1_000_000))
        array = Part(file, file.path, start, file.size)
        pickled = runs(array, _of_objects(text), self.opcodes)
        self.take(pickled, inside, depth)

    def seven_z(self, _file: OpenFile, inside: str, _depth: int) -> None:
        """No reader of models takes them apart by itself: unpacked, they may be anything."""
        self.blind(inside, "an archive (7z or RAR), which is not looked into")


def _is_numpy(head: bytes) -> bool:
    return head.startswith(_NUMPY) and len(head) >= 12


def _numpy_header(head: bytes) -> int:
    """How many bytes lie in front of the array."""
    if head[6] == 1:
        return 10 + int.from_bytes(head[8:10], "little")
    return 12 + int.from_bytes(head[8:12], "little")


def _of_objects(header: bytes) -> bool:
    return b"O" in header.replace(b"fortran_order", b"")


_Look = Callable[[_Search, OpenFile, str, int], None]
_LOOKS: tuple[tuple[Callable[[bytes], bool], _Look], ...] = (
    (_is_numpy, _Search.numpy),
    (lambda head: head.startswith((_SEVEN_Z, _RAR)), _Search.seven_z),
    (tars.is_tar, _Search.tar),
)


def may_go_on(path: str, data: bytes) -> bool:
    """Whether more behind these bytes could belong to a pickle or an archive."""
    start = data[:512]
    if _is_numpy(start):
        header = data[: _numpy_header(start)]
        return _of_objects(header) or len(header) == len(data)
    if start.startswith((b"PK\3\4", b"PK\5\6")) or any(test(start) for test, _ in _LOOKS):
        return True
    if not data or streams.kind_of(start) is not None:
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
    looking = _Search(far)
    looking.file(file, "", 0, is_of_a_pickle(file.path))
    return Searched(tuple(looking.found), tuple(looking.unseen))
