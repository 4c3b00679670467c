"""The one table of dtypes: bits, ggml blocks, and their names in each file format.

Sources: safetensors `Dtype` (0.8), torch 2.13 `torch.dtype` and legacy storage classes,
ggml `GGMLQuantizationType` and its block sizes (gguf 0.19; Q2_0 from ggml itself).
"""

from __future__ import annotations

from typing import NamedTuple


class DType(NamedTuple):
    """One dtype.

    `block_elements` elements take `block_bytes` bytes; a plain dtype has blocks of one
    element, a sub-byte one (F4, F6) the smallest block of whole bytes.
    """

    name: str
    block_elements: int
    block_bytes: int
    kind: str  # float | int | uint | bool | complex | packed
    safetensors: bool = False
    torch: str | None = None  # attribute of the torch module
    storage: str | None = None  # torch's legacy storage class
    ggml: int | None = None  # GGMLQuantizationType

    @property
    def bits(self) -> float:
        """Bits an element, block overhead included (4.5 for Q4_0)."""
        return self.block_bytes * 8 / self.block_elements

    def size(self, elements: int) -> int | None:
        """Bytes of `elements` elements; None where they do not fill whole blocks."""
        blocks, rest = divmod(elements, self.block_elements)
        return None if rest else blocks * self.block_bytes


_PLAIN = (
    # name, bytes, kind, in safetensors, torch attribute, legacy storage class, ggml id
    DType("BOOL", 1, 1, "bool", True, "bool", "BoolStorage"),
    DType("F4", 2, 1, "float", True, "float4_e2m1fn_x2"),
    DType("F6_E2M3", 4, 3, "float", True),
    DType("F6_E3M2", 4, 3, "float", True),
    DType("U8", 1, 1, "uint", True, "uint8", "ByteStorage"),
    DType("I8", 1, 1, "int", True, "int8", "CharStorage", 24),
    DType("F8_E5M2", 1, 1, "float", True, "float8_e5m2"),
    DType("F8_E4M3", 1, 1, "float", True, "float8_e4m3fn"),
    DType("F8_E8M0", 1, 1, "float", True, "float8_e8m0fnu"),
    DType("F8_E4M3FNUZ", 1, 1, "float", True, "float8_e4m3fnuz"),
    DType("F8_E5M2FNUZ", 1, 1, "float", True, "float8_e5m2fnuz"),
    DType("I16", 1, 2, "int", True, "int16", "ShortStorage", 25),
    DType("U16", 1, 2, "uint", True, "uint16"),
    DType("F16", 1, 2, "float", True, "float16", "HalfStorage", 1),
    DType("BF16", 1, 2, "float", True, "bfloat16", "BFloat16Storage", 30),
    DType("I32", 1, 4, "int", True, "int32", "IntStorage", 26),
    DType("U32", 1, 4, "uint", True, "uint32"),
    DType("F32", 1, 4, "float", True, "float32", "FloatStorage", 0),
    DType("C64", 1, 8, "complex", True, "complex64", "ComplexFloatStorage"),
    DType("F64", 1, 8, "float", True, "float64", "DoubleStorage", 28),
    DType("I64", 1, 8, "int", True, "int64", "LongStorage", 27),
    DType("U64", 1, 8, "uint", True, "uint64"),
    # Only torch files hold these.
    DType("C32", 1, 4, "complex", False, "complex32"),
    DType("C128", 1, 16, "complex", False, "complex128", "ComplexDoubleStorage"),
    DType("QI8", 1, 1, "int", False, "qint8", "QInt8Storage"),
    DType("QU8", 1, 1, "uint", False, "quint8", "QUInt8Storage"),
    DType("QI32", 1, 4, "int", False, "qint32", "QInt32Storage"),
    DType("QU4X2", 1, 1, "uint", False, "quint4x2", "QUInt4x2Storage"),
    DType("QU2X4", 1, 1, "uint", False, "quint2x4", "QUInt2x4Storage"),
    DType("BITS8", 1, 1, "uint", False, "bits8"),
    DType("BITS16", 1, 2, "uint", False, "bits16"),
    DType("BITS1X8", 1, 1, "uint", False, "bits1x8"),
    DType("BITS2X4", 1, 1, "uint", False, "bits2x4"),
    DType("BITS4X2", 1, 1, "uint", False, "bits4x2"),
)

_GGML_BLOCKS = (
    # name, ggml id, elements a block, bytes a block
    ("Q4_0", 2, 32, 18),
    ("Q4_1", 3, 32, 20),
    ("Q5_0", 6, 32, 22),
    ("Q5_1", 7, 32, 24),
    ("Q8_0", 8, 32, 34),
    ("Q8_1", 9, 32, 40),
    ("Q2_K", 10, 256, 84),
    ("Q3_K", 11, 256, 110),
    ("Q4_K", 12, 256, 144),
    ("Q5_K", 13, 256, 176),
    ("Q6_K", 14, 256, 210),
    ("Q8_K", 15, 256, 292),
    ("IQ2_XXS", 16, 256, 66),
    ("IQ2_XS", 17, 256, 74),
    ("IQ3_XXS", 18, 256, 98),
    ("IQ1_S", 19, 256, 50),
    ("IQ4_NL", 20, 32, 18),
    ("IQ3_S", 21, 256, 110),
    ("IQ2_S", 22, 256, 82),
    ("IQ4_XS", 23, 256, 136),
    ("IQ1_M", 29, 256, 56),
    ("TQ1_0", 34, 256, 54),
    ("TQ2_0", 35, 256, 66),
    ("MXFP4", 39, 32, 17),
    ("NVFP4", 40, 64, 36),
    ("Q1_0", 41, 128, 18),
    ("Q2_0", 42, 64, 18),
)

DTYPES: dict[str, DType] = {
    dtype.name: dtype
    for dtype in (
        *_PLAIN,
        *(DType(name, n, size, "packed", ggml=id_) for name, id_, n, size in _GGML_BLOCKS),
    )
}
SAFETENSORS = {name: dtype for name, dtype in DTYPES.items() if dtype.safetensors}
GGML = {dtype.ggml: dtype for dtype in DTYPES.values() if dtype.ggml is not None}
TORCH = {dtype.torch: dtype for dtype in DTYPES.values() if dtype.torch is not None}
TORCH_STORAGES = {dtype.storage: dtype for dtype in DTYPES.values() if dtype.storage is not None}
