"""Two small models for the audit: one that passes, one that no job should let through."""

from __future__ import annotations

from pathlib import Path

from tests.builders import folders

CARD = "---\nlicense: apache-2.0\n---\n# A model\n"
SHIPPED = {
    "config.json": {**folders.BERT, "architectures": ["BertModel"]},
    "model.safetensors": folders.weights("a.weight", "b.weight"),
    "README.md": CARD,
    "tokenizer.json": {"version": "1.0"},
}


def models(folder: Path) -> None:
    """`good` and `bad` below a folder."""
    folders.write(folder / "good", SHIPPED)
    cut = folders.weights("a.weight", "b.weight")[:-4]
    folders.write(
        folder / "bad",
        {
            **SHIPPED,
            "model.safetensors": cut,
            "extra/convert.py": "import os\n",
            "README.md": "# no\n",
        },
    )
