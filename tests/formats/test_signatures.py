"""Words for files by their first bytes, on files that other libraries write."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile

import numpy as np
import pytest

from modelscope_cli.formats.signatures import looks_like, zip_looks_like


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as writer:
        writer.addfile(tarfile.TarInfo("a/b"))
    return buffer.getvalue()


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (gzip.compress(b"x", mtime=0), "gzip"),
        (bz2.compress(b"x"), "bzip2"),
        (lzma.compress(b"x"), "xz"),
        (_tar(), "tar"),
        (_npy(), "numpy"),
        (json.dumps({"a": 1}).encode(), "JSON"),
        (b"GGUF\3\0\0\0", "GGUF"),
        (b"\x20\0\0\0\0\0\0\0{}", "safetensors"),
        (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
    ],
)
def test_by_first_bytes(data: bytes, word: str) -> None:
    assert word in (looks_like(data[:512]) or "")


@pytest.mark.parametrize("data", [b"", b"\x80\x02}", b"PK\3\4", b"hello", b"\x08\x08", b"\0"])
def test_what_nothing_tells_apart(data: bytes) -> None:
    assert looks_like(data) is None


def test_zip_archives_by_their_entries() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(1))
    assert "npz" in (zip_looks_like(zipfile.ZipFile(buffer).namelist()) or "")
    assert "Keras" in (zip_looks_like(["config.json", "model.weights.h5"]) or "")
    assert "torch.export" in (zip_looks_like(["m/archive_format", "m/models/model.json"]) or "")
    assert zip_looks_like(["a", "b"]) is None
