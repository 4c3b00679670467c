"""Why a quantizer leaves a parameter as it is: the module that holds it, ties, lists, places."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from modelscope_cli.facts import Shape
from modelscope_cli.live.library import Libraries


class Reasons:
    """Asked of a skeleton before ties make two names one."""

    def __init__(self, libraries: Libraries, model: Any, untied: Collection[str]) -> None:
        self.torch = libraries.torch
        pairs = model.all_tied_weights_keys.items()
        self.tied = {name for pair in pairs if pair[0] not in untied for name in pair}
        names = [name for name, _ in model.named_parameters()]
        self.last = names[-1] if names else ""
        self.output = model.get_output_embeddings()
        self.kept = tuple(model._keep_in_fp32_modules or ())

    def of(self, name: str, shape: Shape, module: Any) -> str:
        """In words."""
        return self._by_shape(shape, module) or self._by_name(name, module) or _by_class(module)

    def _by_shape(self, shape: Shape, module: Any) -> str | None:
        nn = self.torch.nn
        if len(shape) < 2:
            return "a bias or a norm: one dimension"
        if isinstance(module, nn.Embedding):
            return "an embedding, not a linear layer"
        if isinstance(module, nn.modules.conv._ConvNd):
            return "a convolution, not a linear layer"
        return None

    def _by_name(self, name: str, module: Any) -> str | None:
        if module is self.output:
            return "the output head, left alone by default"
        if name in self.tied:
            return "tied to another tensor"
        if name == self.last:
            return "the model's last parameter, left alone by default"
        if any(key in name for key in self.kept):
            return "one of the class's _keep_in_fp32_modules"
        if type(module) is self.torch.nn.Linear:
            return "in the list of modules that are left alone"
        if isinstance(module, self.torch.nn.Linear):
            return f"{type(module).__name__}, a subclass of Linear"
        return None


def _by_class(module: Any) -> str:
    """Fused experts, routers, embeddings of positions: tensors that no Linear holds."""
    return f"a raw parameter of {type(module).__name__}, no Linear"
