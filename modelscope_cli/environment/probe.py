"""`--probe`: torch and bitsandbytes imported by the Python looked at, in its own process."""

from __future__ import annotations

from typing import Any, NamedTuple

from modelscope_cli.environment.asking import Answer, ask
from modelscope_cli.environment.interpreter import HEAD, MARK, Interpreter, marked

_SECONDS = 180.0  # from a network disk, torch alone can take a minute
_MAX_GPUS = 256
_LONGEST = 300
_PROGRAM = f"""{HEAD}
import warnings
told = {{"warnings": []}}
warnings.showwarning = lambda message, *rest, **named: told["warnings"].append(str(message))
try:
    import torch
    told["torch"] = torch.__version__
    told["cuda"] = torch.version.cuda
    told["cudnn"] = torch.backends.cudnn.version()
    told["available"] = torch.cuda.is_available()
    told["architectures"] = torch.cuda.get_arch_list()
    told["gpus"] = []
    for number in range(torch.cuda.device_count() if told["available"] else 0):
        free, total = torch.cuda.mem_get_info(number)
        told["gpus"].append(dict(
            name=torch.cuda.get_device_name(number), total=total, free=free,
            capability="%d.%d" % torch.cuda.get_device_capability(number)))
    if told["available"]:
        float((torch.ones(8, 8, device="cuda") @ torch.ones(8, 8, device="cuda")).sum())
        told["computes"] = True
except BaseException as error:
    told["torch_error"] = "%s: %s" % (type(error).__name__, error)
try:
    import importlib.util
    if importlib.util.find_spec("bitsandbytes"):
        import bitsandbytes
        from bitsandbytes import cextension
        told["bitsandbytes"] = bitsandbytes.__version__
        lib = cextension.lib
        # Where they cannot be loaded, a stand-in of that name explains itself when called.
        told["kernels"] = lib is not None and not type(lib).__name__.startswith("ErrorHandler")
        told["kernels_cuda"] = bool(getattr(lib, "compiled_with_cuda", False))
        told["kernels_error"] = str(vars(lib).get("error_msg", "")) if lib is not None else ""
except BaseException as error:
    told["bitsandbytes_error"] = "%s: %s" % (type(error).__name__, error)
print()
print({MARK!r} + json.dumps(told))
"""


class ProbedGpu(NamedTuple):
    """A card as torch sees it. Sizes in bytes."""

    name: str
    total_bytes: int
    free_bytes: int
    capability: str


class Probe(NamedTuple):
    """What the imports told. `*_error` holds what went wrong, in the library's own words.

    `kernels`: bitsandbytes' library was loaded; `kernels_cuda`: it is one built with CUDA.
    """

    problem: str | None = None
    torch: str | None = None
    cuda: str | None = None
    cudnn: int | None = None
    available: bool = False
    architectures: tuple[str, ...] = ()
    gpus: tuple[ProbedGpu, ...] = ()
    torch_error: str | None = None
    bitsandbytes: str | None = None
    kernels: bool = False
    kernels_cuda: bool = False
    kernels_error: str | None = None
    bitsandbytes_error: str | None = None
    warnings: tuple[str, ...] = ()


def probe(interpreter: Interpreter, *, seconds: float = _SECONDS) -> Probe:
    """Run the imports. Whatever happens to that process is told, none of it raised."""
    if interpreter.python is None:
        return Probe(f"nothing to probe: {interpreter.problem}")
    answer = ask([interpreter.python, "-c", _PROGRAM], seconds=seconds)
    told = marked(answer)
    return Probe(_why_not(answer)) if told is None else _understood(told)


def _why_not(answer: Answer) -> str:
    if answer.problem is not None:
        return f"importing torch {answer.problem}"
    if answer.code is not None and answer.code < 0:
        return f"importing torch ended the process with signal {-answer.code}"
    last = (answer.err.strip().splitlines() or [""])[-1]
    return f"the probe ended with code {answer.code}: {_text(last) or 'it said nothing'}"


def _understood(told: dict[str, Any]) -> Probe:
    texts = ("torch", "cuda", "torch_error", "bitsandbytes", "kernels_error", "bitsandbytes_error")
    flags = ("available", "kernels", "kernels_cuda")
    cudnn = told.get("cudnn")
    plain: dict[str, Any] = {key: _text(told.get(key)) for key in texts}
    plain |= {key: told.get(key) is True for key in flags}
    return Probe(
        cudnn=cudnn if isinstance(cudnn, int) else None,
        architectures=tuple(filter(None, map(_text, _list(told, "architectures")))),
        gpus=tuple(filter(None, map(_gpu, _list(told, "gpus")))),
        warnings=tuple(filter(None, map(_text, _list(told, "warnings"))))[:20],
        **plain,
    )


def _list(told: dict[str, Any], key: str) -> list[Any]:
    value = told.get(key)
    return value[:_MAX_GPUS] if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    """The first line that says something: some libraries explain themselves over a page."""
    lines = str(value).strip().splitlines() if isinstance(value, str) else []
    return lines[0].strip()[:_LONGEST] if lines else None


def _gpu(value: Any) -> ProbedGpu | None:
    try:
        name, capability = str(value["name"]), str(value["capability"])
        total, free = value["total"], value["free"]
    except (KeyError, TypeError, IndexError):
        return None
    if not isinstance(total, int) or not isinstance(free, int):
        return None
    return ProbedGpu(name[:_LONGEST], total, free, capability[:10])
