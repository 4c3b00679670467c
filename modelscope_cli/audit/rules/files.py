"""Family F: files that are whole, well formed, and what their names say."""

from __future__ import annotations

from collections.abc import Iterable

from modelscope_cli.audit import loaded_first
from modelscope_cli.audit.finding import WARNING, Flaw, Skip, flaw_of
from modelscope_cli.audit.policy import Policy
from modelscope_cli.audit.rule import Rule
from modelscope_cli.audit.rules import contents
from modelscope_cli.audit.subject import Subject
from modelscope_cli.errors import MscopeError
from modelscope_cli.formats import weight_sets
from modelscope_cli.sources.tree import FILE, FOLDER
from modelscope_cli.units import counted

# By the class that a reader raises; what stands in none of these rows is malformed.
_SHARDS = frozenset(
    {
        "DuplicateIndexKey", "IndexNotJson", "IndexPathEscape", "IndexTooLarge", "InvalidIndex",
        "MissingShard", "SplitMismatch", "TensorInOtherShard", "TensorInTwoShards",
        "TensorNotInIndex", "TensorNotInShard",
    }
)  # fmt: skip
_LARGER = frozenset({"OffsetsHole", "TrailingBytes", "TrailingPickle"})


def _of(subject: Subject, classes: frozenset[str]) -> Iterable[Flaw]:
    return (flaw_of(each) for each in subject.defects if type(each).__name__ in classes)


class WellFormed(Rule):
    """Weights and configuration can be read.

    A file that is malformed or cut short fails when it is loaded, or loads as something else.
    Every weight file is looked at, not only those that a library would load first.

    Remedy: download the file again, or save it again from what it was made of.
    """

    id = "F001"
    title = "weights and configuration are whole and well formed"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Every defect that is of no other rule of this family."""
        for each in subject.defects:
            if not _is_of_another_rule(each):
                yield flaw_of(each)


def _is_of_another_rule(error: MscopeError) -> bool:
    return type(error).__name__ in _SHARDS | _LARGER


class Shards(Rule):
    """The index and the shards of a model agree.

    A shard that is not there, or a tensor that is elsewhere than the index says, loads as random
    weights or not at all; shards without an index are found by no library (a split GGUF needs
    none). A warning where other weights are loaded before them.

    Remedy: download what is missing; save the model again where its index is wrong.
    """

    id = "F002"
    title = "index and shards agree"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Defects of indexes and split files, and shards that no index names."""
        yield from _of(subject, _SHARDS)
        if subject.ref.kind != "file":  # a shard by itself is looked at alone
            yield from _without_index(subject)


def _without_index(subject: Subject) -> Iterable[Flaw]:
    try:
        placed = list(loaded_first.sets(subject.files))
    except Skip:  # built in: there is no folder that an index could be missing from
        return
    for each in placed:
        weights = each.weights
        shards = [name for name in weights.files if weight_sets.shard_of(name) is not None]
        if weights.format == "gguf" or weights.index_file is not None or not shards:
            continue
        yield Flaw(
            f"{each.path(shards[0])}: there is no {weights.name}.index.json, by which libraries "
            f"find {counted(len(shards), 'shard')}",
            each.path(shards[0]),
            severity=None if each.is_first and weights.name not in weights.files else WARNING,
        )


class ClassTensors(Rule):
    """The tensors are those of the class that the configuration names.

    A tensor that the class lacks is loaded by nobody; one that the file lacks starts as random
    numbers, with a warning in a log at most; one of another shape is refused. Where transformers
    is installed (`live`) its own loader is given the file's names and shapes, on the meta device
    and without any weight. Elsewhere what is known of its classes tells most names, and of shapes
    only those of embeddings.

    Remedy: correct `architectures` in config.json, or save the model again from that class.
    """

    id = "F003"
    title = "tensors are those of the model's class"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Extra tensors (a warning), missing ones, and shapes that are not the class's."""
        from modelscope_cli.audit import class_tensors  # only this rule needs to know classes

        yield from class_tensors.flaws(subject)

    def get_ready(self) -> None:
        """Import transformers, which takes longer than a hundred small models."""
        from modelscope_cli.audit import class_tensors

        class_tensors.get_ready()


class Duplicates(Rule):
    """No weight file is there twice.

    A copy under another name doubles what is downloaded and stored, and is forgotten when the
    first is replaced.

    Remedy: delete one of them.
    """

    id = "F004"
    title = "no weight file is there twice"
    severity = WARNING

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Weight files of one size that hold the same, as far as is looked."""
        yield from contents.duplicates(subject)


class Polyglots(Rule):
    """A file is of one format only.

    A file that is a checkpoint to one program and an archive to another can carry what no scanner
    of checkpoints sees.

    Remedy: find out where it comes from; save the weights again as safetensors.
    """

    id = "F005"
    title = "no file is of two formats at once"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Files that end as a zip archive and do not begin as one."""
        yield from contents.polyglots(subject)


class Extensions(Rule):
    """A file is what its name says.

    Programs choose by the name how a file is loaded, scanners which files they look at: a pickle
    that is called .safetensors or .json slips past both. An error where a pickle, a program or an
    archive goes by another name, and for weights that would be loaded by theirs: the libraries
    fail. Else a warning.

    Remedy: rename the file, or replace it by what its name promises.
    """

    id = "F006"
    title = "files are what their names say"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Files whose first bytes are those of another format."""
        loaded = loaded_first.files(subject.files)
        for each in contents.misnamed(subject):
            yield each._replace(severity=None) if each.file in loaded else each


class Larger(Rule):
    """Every byte of a weight file belongs to something that its header names.

    What lies behind or between tensors is loaded by nobody, and can hide anything.

    Remedy: save the weights again, and ask where the file comes from.
    """

    id = "F007"
    title = "weight files are no larger than their headers say"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Defects of files with bytes that no tensor owns."""
        yield from _of(subject, _LARGER)


class Readable(Rule):
    """Everything in the model's folder can be read.

    A FIFO or device makes whoever opens it wait; a link to nothing is a file that is missing; a
    folder that may not be read cannot be audited.

    Remedy: remove it, or restore what it should be.
    """

    id = "F008"
    title = "everything in the folder can be read"

    def check(self, subject: Subject, policy: Policy) -> Iterable[Flaw]:
        """Entries that are neither files nor folders once links are followed."""
        for each in subject.files:
            # Of a cached snapshot, C002 knows more of such links.
            if each.kind in (FILE, FOLDER) or (
                each.kind in ("dangling", "looping") and subject.ref.kind == "cache"
            ):
                continue
            link = f" link to {each.link}" if each.link else ""
            yield Flaw(f"{each.path}: {each.kind}{link}", each.path)
        if subject.cut is not None:
            yield Flaw(f"not all files are looked at: {subject.cut}", severity=WARNING)


RULES: tuple[type[Rule], ...] = (
    WellFormed, Shards, ClassTensors, Duplicates, Polyglots, Extensions, Larger, Readable,
)  # fmt: skip
