"""Settings in the environment that matter, with nothing secret in what is shown of them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from modelscope_cli.sources.hfcache import source as hfcache

SET = "set"
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|JWT|API_?KEY|CREDENTIAL|AUTH", re.I)
_IN_URL = re.compile(r"(?<=://)[^/@\s]*@")
_TOKENS = re.compile(r"\b(?:api_org|hf)_\w{8,}")
_CUDA = re.compile(
    r"CUDA_(?:HOME|PATH|VISIBLE_DEVICES|DEVICE_ORDER|LAUNCH_BLOCKING|MODULE_LOADING)$"
    r"|NVIDIA_VISIBLE_DEVICES$|LD_LIBRARY_PATH$|BNB_CUDA_VERSION$|TORCH_CUDA_ARCH_LIST$"
    r"|PYTORCH_(?:CUDA_)?ALLOC_CONF$|HIP_VISIBLE_DEVICES$|ROCR_VISIBLE_DEVICES$"
)
_HF = re.compile(r"HF_|HUGGINGFACE_|HUGGING_FACE_|TRANSFORMERS_(?:CACHE|OFFLINE)$")
_SLURM = re.compile(r"SLURM_")
_TRUE = ("1", "on", "yes", "true")


def cuda(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that CUDA, torch and bitsandbytes read."""
    return _shown(environ, _CUDA)


def hugging_face(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that huggingface_hub and transformers read."""
    return _shown(environ, _HF)


def slurm(environ: Mapping[str, str]) -> dict[str, str]:
    """The Slurm job one is in."""
    return _shown(environ, _SLURM)


def _shown(environ: Mapping[str, str], names: re.Pattern[str]) -> dict[str, str]:
    return {name: _value(name, environ[name]) for name in sorted(environ) if names.match(name)}


def _value(name: str, value: str) -> str:
    if _SECRET.search(name):
        return SET if value else ""
    return _TOKENS.sub("(a token)", _IN_URL.sub("(a login)@", value))


def token(environ: Mapping[str, str]) -> str | None:
    """Where the Hub's token comes from; never what it is. None where there is none."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if environ.get(name):
            return f"${name}"
    hub, _ = hfcache.cache_dir(environ=environ)
    home = environ.get("HF_HOME") or os.path.dirname(hub)
    path = environ.get("HF_TOKEN_PATH") or os.path.join(os.path.expanduser(home), "token")
    return "the stored login" if os.path.isfile(path) else None


def offline(environ: Mapping[str, str]) -> bool:
    """Whether huggingface_hub keeps off the network."""
    value = environ.get("HF_HUB_OFFLINE") or environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.lower() in _TRUE
