"""What `limits.quantization` may name: schemes, kinds of them, and libraries that pack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import accumulate

from modelscope_cli.dtypes import GGML
from modelscope_cli.schemes import FAMILIES, READ_ONLY

NONE, ANY = "none", "any"


@cache
def names() -> Sequence[str]:
    """All of them, in lower case, `none` and `any` first."""
    schemes = [*(name for family in FAMILIES for name in family.schemes), *READ_ONLY]
    kinds = [kind for scheme in schemes for kind in _kinds(scheme)]
    methods = [name for family in FAMILIES for name in family.methods]
    ggml = [dtype.name.lower() for dtype in GGML.values()]
    return tuple(dict.fromkeys([NONE, ANY, *kinds, *methods, *ggml]))


def _kinds(scheme: str) -> Iterable[str]:
    """`fp8` and `fp8-block` of `fp8-block`."""
    return accumulate(scheme.split("-"), "{}-{}".format)
