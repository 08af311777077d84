# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The layer whose features Grad-CAM explains."""

import difflib
from collections import Counter
from functools import partial
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
    named = model.named_modules(remove_duplicate=False)
    layers = {name: module for name, module in named if name}
    if layer in layers:
        return layers[layer]
    similar = difflib.get_close_matches(str(layer), layers, n=5, cutoff=0)
    raise ValueError(
        f'the network has no layer {layer!r}; similar names: {", ".join(similar)}'
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
        runs: How often the layer has run.
    """

    def _register_hooks(self, layer_name: str | None) -> None:
        module = find_layer(self.model, layer_name)
        head = self.model.cls_head
        self.name = HEAD_INPUT if layer_name is None else f'layer {layer_name}'
        self.runs = 0
        self._is_forward = True
        self._fault = ''
        self._layers_with_maps: list[str] = []
        self._hooks = [
            each.register_forward_hook(partial(self._on_any_output, name))
            for name, each in self.model.named_modules()
            if name and each is not head
        ]
        if layer_name is None:
            hook = module.register_forward_pre_hook(self._on_head_input)
        else:
            hook = module.register_forward_hook(self._on_output)
        self._hooks += [hook, head.register_forward_hook(self._end_forward)]

    def remove_hooks(self) -> None:
        """Remove all hooks from the model."""
        for hook in self._hooks:
            hook.remove()

    def _on_any_output(
        self, name: str, module: nn.Module, args: tuple, output: Any
    ) -> None:
        if self._is_forward and self._has_maps(output):
            self._layers_with_maps.append(name)

    def _on_head_input(self, head: nn.Module, args: tuple) -> tuple:
        return self._record(args[0]), *args[1:]

    def _on_output(self, module: nn.Module, args: tuple, output: Any) -> Any:
        return self._record(output)

    def _end_forward(self, *_: Any) -> None:
        # With activation checkpointing, layers run again in the backward pass.
        self._is_forward = False
        if self.runs > 1:
            self._fault = f'{self.name} runs {self.runs} times per clip'
        if self._fault:
            counts = Counter(self._layers_with_maps)
            once = [name for name in reversed(counts) if counts[name] == 1][:5]
            found = 'this network has none, like most transformers'
            if once:
                found = f'the last ones are {", ".join(once)}'
            raise ValueError(
                f'{self._fault}; Grad-CAM needs a layer that gives maps once per clip: '
                f'{found}'
            )

    def _has_maps(self, output: Any) -> bool:
        return (
            isinstance(output, Tensor)
            and output.ndim in ((4, 5) if self.is_recognizer2d else (5,))
            and output.shape[-2:].numel() > 1
        )

    def _record(self, output: Any) -> Any:
        self.runs += self._is_forward
        if self._has_maps(output):
            return self._record_maps(output)
        if isinstance(output, (tuple, list)):
            is_slowfast = isinstance(self.model.cls_head, SlowFastHead)
            is_clear = len(output) == 1 or (is_slowfast and len(output) == 2)
            if is_clear and self._has_maps(output[0]):
                kind: Any = type(output)
                return kind([self._record_maps(output[0]), *output[1:]])
        if isinstance(output, Tensor):
            shown = f'of shape {tuple(output.shape)}'
        elif isinstance(output, (tuple, list)):
            shown = f'{type(output).__name__} of {len(output)}'
        else:
            shown = type(output).__name__
        # Reported at the end, when it is known which layers would do.
        self._fault = f'{self.name} is {shown}'
        return output

    def _record_maps(self, output: Tensor) -> Tensor:
        # Everything before is constant: gradients are needed only from here on, and
        # also where all parameters are frozen.
        features = output.detach().requires_grad_()
        if self._is_forward:
            self.target_activations = self._per_frame(features.detach())
            features.register_hook(self._on_gradient)
        return features.clone()  # the next layer may work in place

    def _on_gradient(self, gradient: Tensor) -> None:
        self.target_gradients = self._per_frame(gradient.detach())

    def _per_frame(self, features: Tensor) -> Tensor:
        if self.is_recognizer2d and features.ndim == 5:
            features = features.transpose(1, 2).flatten(0, 1)
        return features.contiguous()
