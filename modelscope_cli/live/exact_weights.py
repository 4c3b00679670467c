"""`--exact`: every parameter, buffer and quantization tensor that a loaded model would hold.

The class is built on meta and transformers' own quantizer is applied to it. bitsandbytes packs no
tensor on meta: which modules it converts is read off the skeleton, what each becomes is the
arithmetic of `schemes.bnb`, which the tests compare with bitsandbytes itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from modelscope_cli.dtypes import DTYPES
from modelscope_cli.facts import Shape, Unknown
from modelscope_cli.live import library, skeleton
from modelscope_cli.live.library import Libraries, first_line
from modelscope_cli.live.quantizers import Quantizer, chosen
from modelscope_cli.live.reasons import Reasons
from modelscope_cli.live.skeleton import Skeleton

PARTS = WEIGHTS, QUANTIZATION, BUFFERS = ("weights", "quantization", "buffers")


class Held(NamedTuple):
    """One tensor of the loaded model; `part` is weights, quantization or buffers."""

    name: str
    dtype: str
    shape: Shape
    bytes: int
    part: str


class Left(NamedTuple):
    """Parameters that a quantization leaves as they are, folded over numbers."""

    pattern: str
    tensors: int
    bytes: int
    reason: str


class ExactParts(NamedTuple):
    """Bytes by part, each tensor once. `quantized_*`: weights packed, and what they were.

    `tied` are pairs (target, source) that are one tensor; `dtype` is what the rest is loaded as.
    """

    weights: int
    quantization: int
    buffers: int
    tensors: list[Held]
    quantized_modules: int
    quantized_parameters: int
    left: tuple[Left, ...]
    tied: tuple[tuple[str, str], ...]
    dtype: str
    class_name: str
    note: str | None = None

    @property
    def load_bytes(self) -> int:
        """All three."""
        return self.weights + self.quantization + self.buffers


def exact_weights(
    config: Mapping[str, Any],
    architecture: str | None,
    *,
    scheme: str | None = None,
    dtype: str | None = None,
    double_quant: bool = False,
    skip: Sequence[str] | None = None,
    untied: Collection[str] = (),
    file_dtypes: Mapping[str, str] | None = None,
) -> ExactParts | Unknown:
    """What `from_pretrained` leaves in memory, to the byte, before any allocator rounds.

    `scheme`: nf4, fp4, int8 or None (as the configuration says: its `quantization_config`, as on
    a CUDA card with kernels). `dtype`: safetensors' spelling, None = the configuration's.
    `skip`: `llm_int8_skip_modules`. `untied`: targets of tied pairs whose two tensors are both in
    the file and differ. `file_dtypes`: by parameter, for checkpoints that keep the file's dtype.
    Raises MissingExtra, for bitsandbytes too.
    """
    libraries = library.load("--exact builds the model's class with transformers")
    quantizer = chosen(libraries, config, scheme, double_quant, skip)
    if isinstance(quantizer, Unknown):
        return quantizer
    prepare = None if quantizer is None else quantizer.prepare
    made = skeleton.build(libraries, config, architecture, dtype, prepare)
    if isinstance(made, Unknown):
        return made
    return parts_of(libraries, made, quantizer, untied, file_dtypes or {})


def parts_of(
    libraries: Libraries,
    made: Skeleton,
    quantizer: Quantizer | None = None,
    untied: Collection[str] = (),
    file_dtypes: Mapping[str, str] | None = None,
) -> ExactParts | Unknown:
    """Every tensor of a skeleton as loading leaves it. Ties the skeleton."""
    why = Reasons(libraries, made.model, untied)
    tied = tuple(pair for pair in made.model.all_tied_weights_keys.items() if pair[0] not in untied)
    try:
        with library.quiet():
            skeleton.tie(made.model, untied)
    except Exception as error:
        return Unknown(f"{libraries.name} cannot tie {made.class_name}: {first_line(error)}")
    walk = _Walk(libraries, made, quantizer, file_dtypes or {})
    tensors = [*walk.parameters(), *walk.buffers()]
    weights, quantization, buffers = (
        sum(held.bytes for held in tensors if held.part == part) for part in PARTS
    )
    return ExactParts(
        weights,
        quantization,
        buffers,
        tensors,
        walk.quantized_modules,
        walk.quantized_parameters,
        () if quantizer is None else tuple(_folded(walk.left, why)),
        tied,
        skeleton.spelling(made.dtype),
        made.class_name,
        made.note,
    )


class _Walk:
    """Over a tied skeleton's tensors, each once: torch gives a shared one under its first name."""

    def __init__(
        self,
        libraries: Libraries,
        made: Skeleton,
        quantizer: Quantizer | None,
        file_dtypes: Mapping[str, str],
    ) -> None:
        self.model = made.model
        self.quantizer = quantizer
        self.loaded = skeleton.loaded_dtype(libraries, made.model, made.dtype)
        keeps = quantizer is not None and quantizer.keeps_file_dtype
        self.file_dtypes = file_dtypes if keeps else {}
        self.modules = dict(made.model.named_modules())
        self.left: list[tuple[Held, Any]] = []
        self.quantized_modules = self.quantized_parameters = 0

    def parameters(self) -> Iterator[Held]:
        for name, parameter in self.model.named_parameters():
            module = self.modules[name.rpartition(".")[0]]
            packed = self._packed(name, module, parameter)
            if packed is not None:
                yield from packed
                continue
            dtype = self._dtype(name, parameter)
            held = _held(name, dtype, parameter, WEIGHTS)
            self.left.append((held, module))
            yield held

    def buffers(self) -> Iterator[Held]:
        """Persistent ones take the dtype plan, the others are never in a file."""
        for name, buffer in self.model.named_buffers():
            parent, _, leaf = name.rpartition(".")
            module = self.modules[parent]
            packed = self._packed(name, module, buffer)
            if packed is not None:
                yield from packed
                continue
            computed = leaf in module._non_persistent_buffers_set
            dtype = skeleton.spelling(buffer.dtype if computed else self.loaded(name, buffer))
            yield _held(name, dtype, buffer, BUFFERS)

    def _dtype(self, name: str, parameter: Any) -> str:
        """A pre-quantized bitsandbytes checkpoint keeps the file's dtype of every `weight`."""
        if name.rpartition(".")[2] == "weight" and name in self.file_dtypes:
            return self.file_dtypes[name]
        return skeleton.spelling(self.loaded(name, parameter))

    def _packed(self, name: str, module: Any, tensor: Any) -> list[Held] | None:
        found = None if self.quantizer is None else self.quantizer.packed(name, module, tensor)
        if found is None or self.quantizer is None:
            return None
        if not found[0].state:
            self.quantized_modules += 1
            self.quantized_parameters += self.quantizer.weights(name, module)
        return [
            Held(
                each.name,
                each.dtype,
                each.shape,
                each.bytes,
                QUANTIZATION if each.state else WEIGHTS,
            )
            for each in found
        ]


def _held(name: str, dtype: str, tensor: Any, part: str) -> Held:
    size = DTYPES[dtype].size(tensor.numel())
    if size is None:  # a packed dtype that torch counts whole
        size = tensor.numel() * tensor.element_size()
    return Held(name, dtype, tuple(tensor.shape), size, part)


def _folded(left: list[tuple[Held, Any]], why: Reasons) -> Iterator[Left]:
    """In the model's order, one row for names that differ in numbers alone."""
    rows: dict[tuple[str, str], list[int]] = {}
    for held, module in left:
        counts = rows.setdefault(
            (_NUMBER.sub("*", held.name), why.of(held.name, held.shape, module)), [0, 0]
        )
        counts[0] += 1
        counts[1] += held.bytes
    for (pattern, reason), (count, size) in rows.items():
        yield Left(pattern, count, size, reason)


_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")
