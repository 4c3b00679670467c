"""Code that a model brings along or asks for: in its configuration, by names, by first bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_cli.errors import FormatError, MscopeError
from modelscope_cli.formats import config
from modelscope_cli.sources.tree import FILE, Entry

if TYPE_CHECKING:
    from modelscope_cli.audit.subject import Subject
    from modelscope_cli.sources.base import OpenFile

MOST_CONFIGURATIONS = 1_000
_SEARCHED_BYTES = 128_000_000  # of a configuration that cannot be read as one
_PIECE_BYTES = 1 << 20
_CONFIGURATIONS = frozenset(
    {
        "config.json", "tokenizer_config.json", "processor_config.json",
        "preprocessor_config.json", "video_preprocessor_config.json", "generation_config.json",
        "feature_extractor_config.json", "adapter_config.json", "model_index.json",
        "modules.json",
    }
)  # fmt: skip
_SENTENCE_TRANSFORMERS = "sentence_transformers."

_SOURCES = {
    ".py": "Python", ".pyi": "Python", ".ipynb": "a notebook", ".sh": "a shell script",
    ".bash": "a shell script", ".bat": "a Windows script", ".cmd": "a Windows script",
    ".ps1": "a PowerShell script", ".js": "JavaScript", ".mjs": "JavaScript", ".lua": "Lua",
    ".pl": "Perl", ".rb": "Ruby", ".vbs": "a Windows script", ".cu": "CUDA", ".cpp": "C++",
    ".c": "C",
}  # fmt: skip
_PROGRAMS = {
    ".so": "a library", ".dll": "a library", ".dylib": "a library", ".pyd": "a Python extension",
    ".exe": "a program", ".msi": "an installer", ".jar": "a Java archive",
    ".pyc": "compiled Python", ".pyo": "compiled Python", ".whl": "a Python package",
    ".scr": "a program", ".apk": "a program", ".com": "a program",
}  # fmt: skip
_STARTS = (
    (b"\x7fELF", "a program or library (ELF)"),
    (b"MZ", "a Windows program or library"),
    (b"\xcf\xfa\xed\xfe", "a macOS program or library"),
    (b"\xce\xfa\xed\xfe", "a macOS program or library"),
    (b"\xca\xfe\xba\xbe", "a macOS program, or compiled Java"),
)


class Asked(NamedTuple):
    """Code that a configuration asks for; `elsewhere`: from another repository."""

    what: str
    elsewhere: bool = False


def ending(path: str) -> str:
    """`.py` of a path, in small letters; empty without."""
    name = path.rpartition("/")[2].lower()
    return f".{name.rpartition('.')[2]}" if "." in name else ""


class Configuration(NamedTuple):
    """A configuration file: what it holds, or why that is not known.

    transformers reads larger and deeper ones than we do, so that one unread is no sign of peace.
    """

    path: str
    document: Any = None
    unread: str | None = None


def configurations(subject: Subject) -> Iterator[Configuration]:
    """The configuration files of a model and its components, the model's own first."""
    paths = sorted((each.path for each in subject.files if _is_configuration(each)), key=_place)
    for path in paths[:MOST_CONFIGURATIONS]:
        yield _configuration(subject, path)
    if len(paths) > MOST_CONFIGURATIONS:
        why = f"{len(paths):,} configuration files: more than are read"
        yield Configuration(paths[MOST_CONFIGURATIONS], unread=why)


def _is_configuration(entry: Entry) -> bool:
    """By the name: config.json may send transformers of some version to `config.4.0.0.json`."""
    name = entry.path.rpartition("/")[2]
    versioned = name.startswith("config.") and name.endswith(".json")
    return entry.kind == FILE and (versioned or name in _CONFIGURATIONS)


def _place(path: str) -> tuple[int, str]:
    """What lies higher is loaded first."""
    return path.count("/"), path


def _configuration(subject: Subject, path: str) -> Configuration:
    try:
        with subject.open(path) as file:
            try:
                return Configuration(path, config.read_value(file))
            except FormatError as error:
                return Configuration(path, unread=f"{_bare(error, path)}{_speaks_of(file)}")
    except MscopeError as error:
        return Configuration(path, unread=_bare(error, path))


def _bare(error: MscopeError, path: str) -> str:
    return error.message.removeprefix(f"{path}: ")


def _speaks_of(file: OpenFile) -> str:
    """Which keys that ask for code stand somewhere in a file, for whoever looks into it."""
    there: set[str] = set()
    before = b""
    for at in range(0, min(file.size, _SEARCHED_BYTES), _PIECE_BYTES):
        piece = before + file.read_at(at, min(_PIECE_BYTES, file.size - at))
        there |= {key for key in _KEYS if key.encode() in piece}
        before = piece[-64:]
    return f"; it speaks of {' and '.join(sorted(there))}" if there else ""


def asked_for(path: str, document: object) -> Iterator[Asked]:
    """The code that one configuration file asks for."""
    name = path.rpartition("/")[2]
    if name == "modules.json" and isinstance(document, list):
        yield from _modules(document)
    if not isinstance(document, Mapping):
        return
    for key, read in _KEYS.items():
        if (value := document.get(key)) is not None:
            yield from read(value)
    if name == "model_index.json":
        yield from _pipeline(document)


def _auto_map(value: object) -> Iterator[Asked]:
    """{"AutoModel": "modeling_x.Model", "AutoTokenizer": ["org/name--tokenizer.T", null]}."""
    if isinstance(value, list | tuple | str):
        value = {"auto_map": value}
    for auto, classes in value.items() if isinstance(value, Mapping) else ():
        for each in classes if isinstance(classes, list | tuple) else [classes]:
            if isinstance(each, str):
                repo, there, _ = each.partition("--")
                place = f", from {repo}" if there else ""
                yield Asked(f"auto_map: {auto} is {each}: Python{place}", bool(there))


def _custom_pipelines(value: object) -> Iterator[Asked]:
    """{"task": {"impl": "module.Pipeline"}}."""
    for task, each in value.items() if isinstance(value, Mapping) else ():
        made = each.get("impl") if isinstance(each, Mapping) else None
        if isinstance(made, str):
            yield Asked(f"custom_pipelines: {task} is {made}: Python", "--" in made)


def _modules(modules: list[object]) -> Iterator[Asked]:
    """A sentence-transformers' modules: classes of the library, or of the model's own Python."""
    for each in modules:
        kind = each.get("type") if isinstance(each, Mapping) else None
        if isinstance(kind, str) and not kind.startswith(_SENTENCE_TRANSFORMERS):
            yield Asked(f"modules.json: a module is {kind}, no class of sentence-transformers")


def _pipeline(index: Mapping[str, object]) -> Iterator[Asked]:
    """A diffusers pipeline whose class is in a file of its own: ["pipeline", "MyPipeline"]."""
    made = index.get("_class_name")
    if isinstance(made, list) and all(isinstance(each, str) for each in made):
        yield Asked(f"model_index.json: the pipeline is {'.'.join(made)}: Python")


_KEYS: dict[str, Callable[[object], Iterator[Asked]]] = {
    "auto_map": _auto_map,
    "custom_pipelines": _custom_pipelines,
}


def program(subject: Subject, entry: Entry) -> str | None:
    """What a file is that a machine runs as it is: by its name, and on this disk its start."""
    if entry.kind != FILE or entry.outside:
        return None
    if (named := _PROGRAMS.get(ending(entry.path))) is not None:
        return named
    start = _start(subject, entry)
    return next((what for bytes_, what in _STARTS if start.startswith(bytes_)), None)


def source(subject: Subject, entry: Entry) -> str | None:
    """What a file is that an interpreter runs."""
    if (named := _SOURCES.get(ending(entry.path))) is not None:
        return named
    return "a script, by its first line" if _start(subject, entry).startswith(b"#!/") else None


def _start(subject: Subject, entry: Entry) -> bytes:
    """The first bytes; of a model elsewhere none, for each file would cost a request."""
    if subject.is_remote or entry.kind != FILE or entry.outside:
        return b""
    try:
        return subject.start(entry.path, 4)
    except MscopeError:
        return b""
