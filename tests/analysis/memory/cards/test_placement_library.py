"""transformers' own device maps, of small models on the meta device, agree with ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from modelscope_cli.analysis.memory.cards.placement import Leaf, Placed, place
from tests.live.tiny import MODELS, Tiny, configured

torch = pytest.importorskip("torch", reason="transformers builds models with it")
transformers = pytest.importorskip("transformers", reason="whose device maps these are")
pytest.importorskip("accelerate", reason="which transformers' device maps need")

# Of the model's size: what each card has, then the CPU.
MEMORY = {
    "roomy": ((2.0, 2.0, 2.0, 2.0), 4.0),
    "two": ((0.8, 0.8), 4.0),
    "tight": ((0.3, 0.3, 0.3, 0.3, 0.3), 4.0),
    "unequal": ((0.2, 0.6, 0.4), 4.0),
    "cpu": ((0.45, 0.35), 4.0),
    "disk": ((0.3, 0.3), 0.3),
    "all on disk": ((0.01,), 0.01),
    "lone": ((1.05,), 4.0),
    "empty card": ((0.7, 0.0, 0.7), 4.0),
}


class Skeleton(NamedTuple):
    """A model on the meta device, and what `place` is told of it."""

    model: Any
    leaves: list[Leaf]
    no_split: set[str]
    tied: list[list[str]]
    containers: set[str]

    @property
    def total(self) -> int:
        twins = {name for _, *others in self.tied for name in others}
        return sum(leaf.bytes for leaf in self.leaves if leaf.name not in twins)


def built(tiny: Tiny) -> Skeleton:
    config = transformers.AutoConfig.for_model(**configured(tiny))
    with torch.device("meta"):
        model = getattr(transformers, tiny.architecture)(config)
    return told(model)


def told(model: Any) -> Skeleton:
    modules = dict(model.named_modules())
    classes = set(model._no_split_modules or ())
    groups: dict[str, list[str]] = {}
    for target, source in model.all_tied_weights_keys.items():
        groups.setdefault(source, [source]).append(target)
    leaves = list(_leaves(modules))
    holding = {".".join(leaf.name.split(".")[:at]) for leaf in leaves for at in range(1, 20)}
    childless = {
        name
        for name, module in modules.items()
        if any(True for _ in module.children())
        and not any(f"{name}.{key}" in holding for key, _ in module.named_children())
    }
    no_split = {name for name, module in modules.items() if type(module).__name__ in classes}
    return Skeleton(model, leaves, no_split, list(groups.values()), childless)


def _leaves(modules: dict[str, Any]) -> Iterator[Leaf]:
    for name, module in modules.items():
        prefix = f"{name}." if name else ""
        for tensors, is_buffer in ((module._parameters, False), (module._buffers, True)):
            for key, tensor in tensors.items():
                if tensor is not None:
                    yield Leaf(prefix + key, tensor.numel() * tensor.element_size(), is_buffer)


def library_map(
    model: Any, cards: list[int], cpu: int, quantizer: Any = None, limits: bool = True
) -> dict[str, Any]:
    from transformers.integrations import accelerate

    memory: dict[Any, int] = {**dict(enumerate(cards)), "cpu": cpu}
    with pytest.MonkeyPatch.context() as patch:
        if not limits:  # as `accelerate` would find them on this machine
            found = accelerate.accelerate_max_memory
            patch.setattr(
                accelerate, "accelerate_max_memory", lambda given=None: found(given or dict(memory))
            )
        given = dict(memory) if limits else None
        device_map: dict[str, Any] = accelerate._get_device_map(model, "auto", given, quantizer)
    return device_map


def by_leaf(device_map: dict[str, Any], leaves: list[Leaf]) -> dict[str, str]:
    from transformers.integrations.accelerate import expand_device_map

    where = expand_device_map(device_map, [leaf.name for leaf in leaves])
    return {
        name: device if isinstance(device, str) else f"cuda:{device}"
        for name, device in where.items()
    }


def ours_by_leaf(placed: list[Placed], leaves: list[Leaf]) -> dict[str, str]:
    rows = {module: row.device for row in placed for module in row.modules}
    where = {}
    for leaf in leaves:
        parts = leaf.name.split(".")
        names = (".".join(parts[:at]) for at in range(len(parts), -1, -1))
        where[leaf.name] = next((rows[name] for name in names if name in rows), "cpu")
    return where


def agree(skeleton: Skeleton, device_map: dict[str, Any], placed: list[Placed]) -> None:
    truth = by_leaf(device_map, skeleton.leaves)
    assert ours_by_leaf(placed, skeleton.leaves) == truth
    twins = {name for _, *others in skeleton.tied for name in others}
    held: dict[str, int] = {}
    for leaf in skeleton.leaves:
        size = 0 if leaf.name in twins else leaf.bytes
        held[truth[leaf.name]] = held.get(truth[leaf.name], 0) + size
    assert {row.device: row.bytes for row in placed if row.bytes} == {
        device: size for device, size in held.items() if size
    }


@pytest.fixture(scope="module", params=MODELS, ids=lambda tiny: tiny.id)
def skeleton(request: pytest.FixtureRequest) -> Skeleton:
    return built(request.param)


@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("limits", [True, False], ids=["max_memory", "found"])
def test_device_maps_agree_with_transformers(skeleton: Skeleton, memory: str, limits: bool) -> None:
    cards, cpu = _memory(memory, skeleton.total)
    try:
        device_map = library_map(skeleton.model, cards, cpu, limits=limits)
    except (IndexError, ValueError) as error:
        pytest.skip(f"transformers itself fails: {error}")
    placed = place(
        skeleton.leaves, skeleton.no_split, skeleton.tied, cards, cpu_bytes=cpu,
        limits_given=limits, containers=skeleton.containers,
    )  # fmt: skip
    agree(skeleton, device_map, placed)


def test_device_maps_agree_with_accelerates_own_functions() -> None:
    """Where nothing is tied and something must stay whole: the rest transformers does otherwise."""
    skeletons = [built(tiny) for tiny in MODELS]
    plain = [skeleton for skeleton in skeletons if skeleton.no_split and not skeleton.tied]
    cases = [(one, memory) for one in plain for memory in ("two", "tight", "unequal", "disk")]
    assert len(cases) >= 50
    for skeleton, memory in cases:
        cards, cpu = _memory(memory, skeleton.total)
        placed = place(
            skeleton.leaves, skeleton.no_split, (), cards, cpu_bytes=cpu, limits_given=True,
            containers=skeleton.containers,
        )  # fmt: skip
        agree(skeleton, _accelerates_map(skeleton, cards, cpu), placed)


def _memory(name: str, total: float) -> tuple[list[int], int]:
    shares, cpu_share = MEMORY[name]
    return [int(share * total) for share in shares], int(cpu_share * total)


def _accelerates_map(skeleton: Skeleton, cards: list[int], cpu: int) -> dict[str, Any]:
    from accelerate.utils import modeling

    classes = list(skeleton.model._no_split_modules)
    memory: dict[Any, int] = {**dict(enumerate(cards)), "cpu": cpu}
    limits = modeling.get_balanced_memory(skeleton.model, memory, classes)
    device_map: dict[str, Any] = modeling.infer_auto_device_map(skeleton.model, limits, classes)
    return device_map


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("memory", ["roomy", "two", "tight", "cpu", "lone"])
def test_device_maps_under_bitsandbytes_agree_with_transformers(
    tiny_to_quantize: Tiny, bits: int, memory: str
) -> None:
    skeleton = built(tiny_to_quantize)
    quantizer = _quantizer(bits)
    with torch.device("meta"):
        quantizer.preprocess_model(model=skeleton.model, dtype=torch.float32, device_map=None)
    planner = {
        name: quantizer.param_element_size(skeleton.model, name, tensor) * tensor.numel()
        for name, tensor in skeleton.model.named_parameters()
    }
    now = told(skeleton.model)
    cards, cpu = _memory(memory, sum(planner.values()))
    device_map = library_map(now.model, cards, cpu, quantizer)
    placed = place(
        now.leaves, now.no_split, now.tied, cards, cpu_bytes=cpu, planner_bytes=planner,
        limits_given=True, containers=now.containers,
    )  # fmt: skip
    agree(now, device_map, placed)


@pytest.fixture(
    params=[tiny for tiny in MODELS if tiny.id in {
        "LlamaForCausalLM", "Qwen2ForCausalLM", "MixtralForCausalLM", "GPT2LMHeadModel",
        "BertForMaskedLM", "T5ForConditionalGeneration", "CLIPModel",
        "WhisperForConditionalGeneration",
    }],
    ids=lambda tiny: tiny.id,
)  # fmt: skip
def tiny_to_quantize(request: pytest.FixtureRequest) -> Tiny:
    tiny: Tiny = request.param
    return tiny


def _quantizer(bits: int) -> Any:
    pytest.importorskip("bitsandbytes", reason="whose quantizer plans differently")
    from transformers.quantizers import AutoHfQuantizer

    config = transformers.BitsAndBytesConfig(
        load_in_4bit=bits == 4, load_in_8bit=bits == 8, llm_int8_enable_fp32_cpu_offload=True
    )
    with contextlib.suppress(ImportError):
        return AutoHfQuantizer.from_config(config)
    return None
