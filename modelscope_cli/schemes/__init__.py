"""How checkpoints pack weights. One file a scheme, one row here: what its tensors are called."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from modelscope_cli.schemes.base import Scheme


class Family(NamedTuple):
    """Schemes whose tensors are named alike, and the module that knows their arithmetic.

    A packed weight `base + packed` has `base + state` tensors beside it; `marker` are those of
    which one must be there for the family to be met at all. `values`: state so small that its
    bytes may be read. `methods`: what quantization configs call it. `dtypes`: of the packed
    tensor, where that tells families apart. `schemes`: the names that `--scheme` takes.
    """

    name: str
    module: str
    packed: str
    marker: tuple[str, ...]
    state: tuple[str, ...]
    schemes: tuple[str, ...]
    methods: tuple[str, ...]
    values: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()

    def load(self) -> Scheme:
        """Import the module only when its arithmetic is needed."""
        return cast("Scheme", importlib.import_module(f"modelscope_cli.schemes.{self.module}"))


# In this order: the first family whose packed tensor and marker are both there takes the weight.
FAMILIES = (
    Family(
        "bitsandbytes",
        "bnb",
        "",
        (".absmax",),
        (".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map",
         ".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4"),
        ("nf4", "fp4"),
        ("bitsandbytes",),
        values=(".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4"),
    ),
    Family(
        "bitsandbytes int8",
        "bnb",
        ".weight",
        (".SCB",),
        (".SCB", ".weight_format"),
        ("int8",),
        ("bitsandbytes",),
    ),
    Family(
        "GPTQ",
        "gptq",
        ".qweight",
        (".qzeros", ".scales"),
        (".qzeros", ".scales", ".g_idx"),
        ("gptq",),
        ("gptq",),
    ),
    Family(
        "AWQ",
        "awq",
        ".qweight",
        (".qzeros", ".scales"),
        (".qzeros", ".scales", ".scaled_zeros"),
        ("awq",),
        ("awq",),
    ),
    Family(
        "compressed-tensors",
        "compressed_tensors",
        ".weight_packed",
        (".weight_scale",),
        (".weight_scale", ".weight_zero_point", ".weight_shape", ".weight_g_idx",
         ".weight_global_scale", ".input_scale", ".input_zero_point", ".input_global_scale"),
        ("pack-quantized", "nvfp4-pack-quantized", "mxfp4-pack-quantized"),
        ("compressed-tensors",),
        values=(".weight_shape",),
    ),
    Family(
        "MXFP4",
        "mxfp4",
        "_blocks",
        ("_scales",),
        ("_scales",),
        ("mxfp4",),
        ("mxfp4",),
        dtypes=("U8",),
    ),
    Family(
        "MXFP4 (gpt-oss's original names)",
        "mxfp4",
        ".blocks",
        (".scales",),
        (".scales",),
        ("mxfp4",),
        ("mxfp4",),
        dtypes=("U8",),
    ),
    Family(
        "NVFP4",
        "nvfp4",
        ".weight",
        (".weight_scale_2",),
        (".weight_scale", ".weight_scale_2", ".input_scale", ".pre_quant_scale", ".k_scale",
         ".v_scale"),
        ("nvfp4",),
        ("modelopt", "nvfp4"),
        dtypes=("U8", "F4"),
    ),
    Family(
        "NVFP4 (experts in one tensor)",
        "nvfp4",
        "",
        ("_weight_scale_2",),
        ("_weight_scale", "_weight_scale_2", "_input_scale"),
        ("nvfp4",),
        ("modelopt",),
        dtypes=("U8", "F4"),
    ),
    Family(
        "MXFP4 (rows)",
        "mxfp4",
        ".weight",
        (".weight_scale",),
        (".weight_scale", ".input_scale"),
        ("mxfp4",),
        ("quark", "modelopt"),
        dtypes=("U8",),
    ),
    Family(
        "FP8",
        "fp8",
        ".weight",
        # The last two are DeepSeek-V4's and Mistral Large 4's names for the first.
        (".weight_scale_inv", ".weight_scale", ".scale", ".qscale_weight"),
        (".weight_scale_inv", ".weight_scale", ".scale", ".qscale_weight", ".input_scale",
         ".activation_scale", ".input_scale_inv", ".qscale_act", ".k_scale", ".v_scale",
         ".weight_scale_2"),
        ("fp8", "fp8-channel", "fp8-block"),
        ("fp8", "fbgemm_fp8", "modelopt"),
        dtypes=("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"),
    ),
    Family(
        "FP8 (experts in one tensor)",
        "fp8",
        "",
        ("_scale_inv", "_scale"),
        ("_scale_inv", "_scale", "_activation_scale"),
        ("fp8", "fp8-channel", "fp8-block"),
        ("fp8", "fbgemm_fp8"),
        dtypes=("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8"),
    ),
    # Whoever keeps I8 weights beside scales: also blocks of INT8, and DeepSeek-V4's FP4 in I8.
    Family(
        "compressed-tensors (unpacked)",
        "compressed_tensors",
        ".weight",
        (".weight_scale", ".weight_scale_inv", ".scale"),
        (".weight_scale", ".weight_scale_inv", ".scale", ".weight_zero_point", ".weight_g_idx",
         ".input_scale", ".input_zero_point"),
        ("int-quantized", "float-quantized"),
        ("compressed-tensors",),
        dtypes=("I8", "F8_E4M3"),
    ),
)  # fmt: skip
# Variants that are told in files, but that `pack` does not write.
READ_ONLY = (
    "awq-gemv", "awq-gemv-fast", "awq-marlin", "mxfp6-pack-quantized", "mxfp8-quantized"
)  # fmt: skip
# Every ggml block type is a scheme of its own; its tensors need no others beside them.
GGML_MODULE = "ggml"


def family_of(scheme: str) -> Family | None:
    """The family that packs by that name; None for a ggml type, and for a name nobody has."""
    return next((family for family in FAMILIES if scheme in family.schemes), None)


def ggml_scheme() -> Scheme:
    """The module of ggml's block types."""
    return cast("Scheme", importlib.import_module(f"modelscope_cli.schemes.{GGML_MODULE}"))
