# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The layer whose features Grad-CAM explains."""

import difflib
from typing import Any

from mmaction.models import SlowFastHead
from mmaction.utils import GradCAM
from torch import Tensor, nn

#: Name of the default layer.
HEAD_INPUT = 'input of cls_head'


def find_layer(model: Any, layer: str | None) -> nn.Module:
    """Find a layer by its name.

    Args:
        model: The network.
        layer: Name, as in ``named_modules``. None: the head.

    Raises:
        ValueError: If it does not exist. The error lists similar names.
    """
    if layer is None:
        return model.cls_head
    layers = {name: module for name, module in model.named_modules() if name}
    if layer in layers:
        return layers[layer]
    similar = difflib.get_close_matches(str(layer), layers, n=5, cutoff=0.5)
    shown = similar or _stages(model)
    raise ValueError(
        f'the network has no layer {layer!r}; '
        f'{"similar names" if similar else "some layers"}: {", ".join(shown)}'
    )


class LayerGradCAM(GradCAM):
    """mmaction2's Grad-CAM with hooks that work on any network and can be removed.

    mmaction2's hooks stay on the model, need a tensor as output and gradients of the
    layer's parameters, and fail on layers before an operation in place.

    Args:
        model: The network, whose parameters must be frozen.
        target_layer_name: Name of a layer, as in ``named_modules``. None: what the head
            gets.

    Attributes:
        name: What is explained, for messages.
    """

    def _register_hooks(self, layer_name: str | None) -> None:
        module = find_layer(self.model, layer_name)
        head = self.model.cls_head
        self.name = HEAD_INPUT if layer_name is None else f'layer {layer_name}'
        self._runs = 0
        self._is_forward = True
        if layer_name is None:
            hook = module.register_forward_pre_hook(self._on_head_input)
        else:
            hook = module.register_forward_hook(self._on_output)
        self._hooks = [hook, head.register_forward_hook(self._end_forward)]

    def remove_hooks(self) -> None:
        """Remove all hooks from the model."""
        for hook in self._hooks:
            hook.remove()

    def _on_head_input(self, head: nn.Module, args: tuple) -> tuple:
        return self._record(args[0]), *args[1:]

    def _on_output(self, module: nn.Module, args: tuple, output: Any) -> Any:
        return self._record(output)

    def _end_forward(self, *_: Any) -> None:
        # With activation checkpointing, layers run again in the backward pass.
        self._is_forward = False

    def _record(self, output: Any) -> Any:
        if isinstance(output, Tensor):
            return self._record_tensor(output)
        if isinstance(output, (tuple, list)):
            is_slowfast = isinstance(self.model.cls_head, SlowFastHead)
            if len(output) == 1 or (is_slowfast and len(output) == 2):
                kind: Any = type(output)
                return kind([self._record(output[0]), *output[1:]])
        shown = (
            f'{len(output)} results'
            if isinstance(output, (tuple, list))
            else type(output).__name__
        )
        raise ValueError(
            f'{self.name} is {shown}, expected one tensor; give a layer with one '
            f'output{self._examples()}'
        )

    def _record_tensor(self, output: Tensor) -> Tensor:
        sizes = (4, 5) if self.is_recognizer2d else (5,)
        if output.ndim not in sizes or output.shape[-2:].numel() == 1:
            expected = '(N, C, T, H, W)'
            if self.is_recognizer2d:
                expected = f'(N*T, C, H, W) or {expected}'
            raise ValueError(
                f'{self.name} has shape {tuple(output.shape)}, expected {expected} '
                f'with several positions; give a layer with maps{self._examples()}'
            )
        # Everything before is constant: gradients are needed only from here on, and
        # also where all parameters are frozen.
        features = output.detach().requires_grad_()
        if self._is_forward:
            self._runs += 1
            if self._runs > 1:
                raise ValueError(
                    f'{self.name} runs more than once per clip, so it has no single '
                    'map; give another layer'
                )
            self.target_activations = self._per_frame(features.detach())
            features.register_hook(self._on_gradient)
        return features.clone()  # the next layer may work in place

    def _on_gradient(self, gradient: Tensor) -> None:
        self.target_gradients = self._per_frame(gradient.detach())

    def _per_frame(self, features: Tensor) -> Tensor:
        if self.is_recognizer2d and features.ndim == 5:
            features = features.transpose(1, 2).flatten(0, 1)
        return features.contiguous()

    def _examples(self) -> str:
        names = _stages(self.model)
        return f', for example one of {", ".join(names)}' if names else ''


def _stages(model: Any) -> list[str]:
    """Return the names of the layers of the backbone that run themselves."""
    containers = (nn.ModuleDict, nn.ModuleList)
    return [
        f'backbone.{name}'
        for name, module in model.backbone.named_children()
        if not isinstance(module, containers)
    ]
