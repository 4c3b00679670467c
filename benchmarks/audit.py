"""`audit` of 1,000 small local models: two jobs against one, and its own cost a model.

`python -m benchmarks.audit write FOLDER` makes the models and a list of them;
`python -m benchmarks.audit read FOLDER` reads each as `params` would, and does no more.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

MODELS = 1000
LIST = "models.txt"
_TENSORS = 24


def write(folder: str) -> None:
    """A thousand folders with a small safetensors file, a config, a card and a tokenizer."""
    root = Path(folder)
    names = []
    for number in range(MODELS):
        model = root / f"m{number:04}"
        model.mkdir(parents=True)
        (model / "model.safetensors").write_bytes(_weights(number))
        (model / "config.json").write_text(json.dumps(_CONFIG))
        (model / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
        (model / "tokenizer.json").write_text('{"version": "1.0"}')
        names.append(str(model))
    (root / LIST).write_text("\n".join(names))


_CONFIG = {
    "architectures": ["BertModel"], "model_type": "bert", "hidden_size": 4, "vocab_size": 10,
}  # fmt: skip


def _weights(number: int) -> bytes:
    header: dict[str, object] = {"__metadata__": {"number": str(number)}}
    for tensor in range(_TENSORS):
        header[f"encoder.layer.{tensor}.attention.weight"] = {
            "dtype": "F32", "shape": [4, 4], "data_offsets": [64 * tensor, 64 * tensor + 64],
        }  # fmt: skip
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(64 * _TENSORS)


def read(folder: str) -> int:
    """Every model's facts, by the program's own reader: what an audit cannot do without."""
    from modelscope_cli.load import open_model

    names = (Path(folder) / LIST).read_text().splitlines()
    return sum(len(open_model(name).files) for name in names)


def main(command: str, folder: str) -> int:
    if command == "write":
        write(folder)
        return 0
    print(read(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
