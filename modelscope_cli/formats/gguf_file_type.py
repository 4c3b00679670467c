"""What a GGUF file is quantized to, by the name people ask for it: `Q4_K_M`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

GUESSED = 1024  # a bit that llama.cpp sets on a type it made up for itself

# llama.cpp's `enum llama_ftype`, named as llama-quantize names them; 5, 6 and 33 to 35 are
# no longer written.
FILE_TYPES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    4: "Q4_1_SOME_F16",
    5: "Q4_2",
    6: "Q4_3",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    33: "Q4_0_4_4",
    34: "Q4_0_4_8",
    35: "Q4_0_8_8",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}

# The last part of a file's name: `model-Q4_K_M.gguf`, `model.q8_0.gguf`, and before a split
# set's number. UD- is a publisher's mark for a mix of its own, K_L and K_XL too.
_SUFFIX = re.compile(
    r"(?:^|[-._/])"
    r"((?:UD-)?(?:[IT]?Q[1-9]_(?:K(?:_[A-Z]{1,3})?|[0-9](?:_[0-9]_[0-9])?|[A-Z]{1,3})"
    r"|BF16|F16|F32|FP16|FP32|MXFP4(?:_MOE)?|NVFP4))"
    r"(?:-\d{5}-of-\d{5})?\.gguf",
    re.IGNORECASE,
)
_SPELLINGS = {"FP16": "F16", "FP32": "F32"}


def file_type_name(metadata: Mapping[str, Any], path: str = "") -> str | None:
    """Name the file's type by `general.file_type`, else by the end of its name."""
    number = metadata.get("general.file_type")
    if type(number) is int and (name := FILE_TYPES.get(number & ~GUESSED)):
        return name
    return file_type_in_name(path)


def file_type_in_name(path: str) -> str | None:
    """Read the type off a file's name, in capitals; None where it has none.

    It can say more than the metadata does: a `Q4_K_XL` or `UD-Q4_K_XL` counts as 15 there.
    """
    match = _SUFFIX.search(path[-256:])
    if match is None or match.end() != len(path[-256:]):
        return None
    name = match[1].upper()
    return _SPELLINGS.get(name, name)
