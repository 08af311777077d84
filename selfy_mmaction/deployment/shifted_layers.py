# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Layers with causal temporal shifts, given the features that are shifted."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from mmaction.models.backbones.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn

from selfy_mmaction.models.backbones.causal_shift import CausalShift

# Shifts the features of frames, (N, C, H, W), in place of a causal shift.
Shift = Callable[[CausalShift, Tensor], Tensor]


def shifts_in(layer: nn.Module) -> Iterator[CausalShift]:
    """Find the shifts of a layer that :func:`run_layer` replaces, in their order."""
    if isinstance(layer, nn.Sequential):
        for child in layer:
            yield from shifts_in(child)
    elif isinstance(layer, CausalShift):
        yield layer
    elif _shifts_first(layer):
        yield layer.get_submodule('conv1.conv')


def run_layer(layer: nn.Module, x: Tensor, shift: Shift) -> Tensor:
    """Run a stage, or a part of it, with other shifts than its own.

    Args:
        layer: Stage, residual block or shift.
        x: Features of frames, (N, C, H, W).
        shift: Is called instead of each shift, in their order.

    Returns:
        (N, C', H', W').
    """
    if isinstance(layer, nn.Sequential):
        for child in layer:
            x = run_layer(child, x, shift)
        return x
    if isinstance(layer, CausalShift):
        return layer.net(shift(layer, x))
    return _residual(layer, x, shift) if _shifts_first(layer) else layer(x)


def skipped_by(layer: nn.Module) -> Iterator[nn.Module]:
    """Find the modules whose forward pass :func:`run_layer` replaces."""
    if isinstance(layer, nn.Sequential):
        for child in layer:
            yield from skipped_by(child)
    elif isinstance(layer, CausalShift):
        yield layer
    elif _shifts_first(layer):
        yield from (layer, layer.conv1, layer.conv1.conv)


def shift_clips(num_segments: int) -> Shift:
    """Return the shift of clips of ``num_segments`` frames."""
    return lambda shift, x: shift.shift(x, num_segments, shift.shift_div)


class FrameShifts:
    """Shifts of one more frame.

    Args:
        past: Shifted channels of the last frame, (N, C // shift_div, H, W), for each
            shift in the order of the network.

    Attributes:
        kept: Those of this frame, after the shifts have run.
    """

    def __init__(self, past: Sequence[Tensor]) -> None:
        self._past = iter(past)
        self.kept: list[Tensor] = []

    def of(self, inside: Tensor) -> Shift:
        """Return the shift of a frame.

        Args:
            inside: Whether it is a frame of the streams, (), bool. If not, the next
                frame is the first, with zeros before it.
        """

        def shift(module: CausalShift, x: Tensor) -> Tensor:
            channels = shifted_channels(module, x)
            self.kept.append(channels.where(inside, 0))
            return torch.cat([next(self._past), x[:, channels.size(1) :]], 1)

        return shift


def shifted_channels(shift: CausalShift, x: Tensor) -> Tensor:
    """Return the channels of frames (N, C, H, W) that move to the next frame."""
    return x[:, : x.size(1) // shift.shift_div]


def _shifts_first(layer: nn.Module) -> bool:
    """Return whether this is a residual block of the host that begins with a shift."""
    # Not the type itself: while a network is exported, each module has another one.
    if not isinstance(layer, BasicBlock | Bottleneck):
        return False
    return isinstance(layer.get_submodule('conv1.conv'), CausalShift)


def _residual(block: Any, x: Tensor, shift: Shift) -> Tensor:
    """Do what a residual block of the host does, with another shift."""
    first = block.conv1
    out = first.conv.net(shift(first.conv, x))
    if first.with_norm:
        out = first.norm(out)
    if first.with_activation:
        out = first.activate(out)
    out = block.conv2(out)
    if isinstance(block, Bottleneck):
        out = block.conv3(out)
    identity = x if block.downsample is None else block.downsample(x)
    return block.relu(out + identity)
