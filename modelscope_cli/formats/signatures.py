"""What a file that is no weight file of ours is, by its first bytes: a word for messages."""

from __future__ import annotations

_STARTS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself (run `git lfs pull`)"),
    (b"\x1f\x8b", "gzip"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x93NUMPY", "a numpy array (.npy)"),
    (b"\x89HDF\r\n\x1a\n", "HDF5 (an older Keras model?)"),
    (b"GGUF", "GGUF (rename it to .gguf)"),
    (b"lmgg", "a ggml file from before GGUF"),
    (b"tjgg", "a ggml file from before GGUF"),
    (b"PK\5\6", "an empty zip archive"),
    (b"\x7fELF", "a program or library (ELF)"),
    (b"MZ", "a Windows program or library"),
    (b"<", "HTML or XML (an error page saved as a file?)"),
    (b"{", "JSON"),
    (b"%PDF", "a PDF document"),
)
_ZIP_MEMBERS = (
    ("model.weights.h5", "a Keras model"),
    (".npy", "a numpy archive (.npz)"),
    ("archive_format", "a torch.export program (.pt2)"),
    (".data/extern_modules", "a torch.package archive"),
    ("word/document.xml", "a Word document"),
    ("META-INF/MANIFEST.MF", "a Java archive"),
    ("MAR-INF/MANIFEST.json", "a TorchServe archive"),
    (".safetensors", "an archive with safetensors files in it: unpack it"),
    (".bin", "an archive with .bin files in it: unpack it"),
    (".pth", "an archive with .pth files in it: unpack it"),
)


def looks_like(head: bytes) -> str | None:
    """What a file with these first 512 bytes seems to be; None where nothing tells."""
    for start, what in _STARTS:
        if head.startswith(start):
            return what
    return next((what for test, what in _TESTS if test(head)), None)


def zip_looks_like(names: list[str]) -> str | None:
    """What a zip archive with these entries seems to be."""
    for ending, what in _ZIP_MEMBERS:
        if any(name.endswith(ending) for name in names):
            return what
    return None


def _is_ctranslate2(head: bytes) -> bool:
    """u32 version, u16 length, then the name of a model specification (`WhisperSpec`)."""
    length = int.from_bytes(head[4:6], "little")
    name = head[6 : 6 + length].rstrip(b"\0")
    return head[1:4] == b"\0\0\0" and 4 < length < 64 and name.endswith(b"Spec")


def _is_onnx(head: bytes) -> bool:
    """Protobuf field 1 (IR version, a small number), then 2 (producer) or another of the model."""
    return len(head) > 4 and head[0] == 0x08 and 0 < head[1] < 32 and head[2] in _ONNX_FIELDS


_ONNX_FIELDS = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)
_TESTS = (
    (lambda head: head[4:8] == b"TFL3", "a TensorFlow Lite model"),
    (lambda head: head[8:9] == b"{" and head[4:8] == bytes(4), "safetensors (rename it so)"),
    (_is_ctranslate2, "a CTranslate2 model"),
    (_is_onnx, "ONNX"),
    (lambda head: head[257:262] == b"ustar", "a tar archive"),
    (lambda head: len(head) > 15 and not any(head), "nothing but zeros (a download that broke?)"),
)
