"""Models on this machine's disk: a folder, or one file in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from types import TracebackType

from modelscope_cli.errors import MscopeError, NotARegularFile, NotFound, TruncatedFile
from modelscope_cli.facts import ModelRef
from modelscope_cli.hub_names import KINDS
from modelscope_cli.sources.base import Extent
from modelscope_cli.target import missing_path_hint

_KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISDIR, "a folder"),
)


def not_readable(path: str, error: OSError) -> NotFound:
    """The OS's refusal as one of our errors: missing, dangling, looping or forbidden."""
    if os.path.islink(path) and isinstance(error, FileNotFoundError):
        target = os.readlink(path)
        return NotFound(
            f"{path}: dangling link: its target {target} does not exist",
            "restore the target, or download the file again",
        )
    return NotFound(f"{path}: {error.strerror or error}")


def missing(path: str, error: OSError) -> NotFound:
    """The error for a MODEL that was taken for a path, and why it is no model of the Hub either."""
    found = not_readable(path, error)
    if not isinstance(error, FileNotFoundError) or os.path.islink(path):
        return found
    hint = missing_path_hint(path)
    if hint is not None and path.partition("/")[0] in KINDS:  # a dataset, a Space
        return NotFound(hint, "there is no file or folder of that name here either")
    found.hint = hint
    return found


class LocalFile:
    """A regular file, opened without ever blocking on a FIFO."""

    def __init__(self, path: str, shown: str) -> None:
        self.path = shown
        try:
            # O_NONBLOCK: opening a FIFO for reading would wait for a writer.
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            self._fd = os.open(path, flags)
        except OSError as error:
            raise _open_error(path, shown, error) from error
        try:
            status = os.fstat(self._fd)
            _require_regular(status.st_mode, shown)
        except BaseException:
            os.close(self._fd)
            raise
        self.size = status.st_size

    def read_at(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise TruncatedFile(
                self.path, f"needs {length:,} bytes, the file has {self.size:,}", offset=offset
            )
        data = self._read(offset, length)
        if len(data) != length:
            raise TruncatedFile(self.path, "the file became shorter while it was read")
        return data

    def _read(self, offset: int, length: int) -> bytes:
        parts = []
        try:
            os.lseek(self._fd, offset, os.SEEK_SET)
            while length and (data := os.read(self._fd, length)):
                parts.append(data)
                length -= len(data)
        except OSError as error:
            raise NotFound(f"{self.path}: {error.strerror}") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)


def _open_error(path: str, shown: str, error: OSError) -> MscopeError:
    try:
        _require_regular(os.stat(path).st_mode, shown)  # a socket refuses to be opened at all
    except NotARegularFile as refusal:
        return refusal
    except OSError:
        pass
    return not_readable(path, error)


def _require_regular(mode: int, shown: str) -> None:
    if stat.S_ISREG(mode):
        return
    raise NotARegularFile(shown, f"is {kind_of(mode)}, not a file that can be read")


def kind_of(mode: int) -> str:
    """What lies somewhere, by its mode, where it is no regular file: `a FIFO`."""
    return next((text for test, text in _KINDS if test(mode)), "not a regular file")


class LocalSource:
    """A folder on disk; `ref` says how the user came to it."""

    def __init__(self, root: str, ref: ModelRef) -> None:
        self.root = root
        self.ref = ref

    def files(self, folder: str = "") -> dict[str, int]:
        """Files directly in `folder`, by name. What is no regular file has size -1."""
        found = {}
        for entry in self._scan(folder):
            try:
                status = entry.stat()
            except OSError:
                found[entry.name] = -1  # dangling or looping link: opening it says so
                continue
            if not stat.S_ISDIR(status.st_mode):
                found[entry.name] = status.st_size if stat.S_ISREG(status.st_mode) else -1
            elif _named_like_a_file(entry.name):
                found[entry.name] = -1
        return found

    def folders(self, folder: str = "") -> list[str]:
        """Names of the folders directly in `folder`."""
        return [entry.name for entry in self._scan(folder) if _is_folder(entry)]

    def expect(self, wanted: Sequence[Extent]) -> None:
        """Nothing to do: a local disk is asked when its bytes are needed."""

    def _scan(self, folder: str) -> list[os.DirEntry[str]]:
        path = os.path.join(self.root, folder) if folder else self.root
        try:
            with os.scandir(path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise not_readable(path, error) from error

    def open(self, path: str) -> LocalFile:
        """Open a file by its path relative to the model."""
        return LocalFile(os.path.join(self.root, path), path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads back to itself
        return False


def _named_like_a_file(name: str) -> bool:
    return name.endswith((".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".json"))
