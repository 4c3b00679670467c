"""Code that a model brings along or asks for: in its configuration, by names, by first bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from modelscope_cli.errors import MscopeError
from modelscope_cli.formats import config
from modelscope_cli.sources.tree import FILE, Entry

if TYPE_CHECKING:
    from modelscope_cli.audit.subject import Subject

MOST_CONFIGURATIONS = 64
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


def configurations(subject: Subject) -> Iterator[tuple[str, Any]]:
    """The configuration files of a model and its components; those unreadable are left out."""
    paths = [each.path for each in subject.files if _is_configuration(each)]
    for path in paths[:MOST_CONFIGURATIONS]:
        try:
            with subject.open(path) as file:
                yield path, config.read_value(file)
        except MscopeError:
            continue  # F001 has it


def _is_configuration(entry: Entry) -> bool:
    return entry.path.rpartition("/")[2] in _CONFIGURATIONS and entry.kind == FILE


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
