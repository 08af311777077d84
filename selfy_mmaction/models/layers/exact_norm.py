# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Convolution whose batch norm is exact and fast for thousands of small maps."""

from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

# In larger maps, torch's batch norm is exact and as fast.
_MAX_POSITIONS = 100


class ExactNormConvModule(ConvModule):
    """``ConvModule`` that takes the statistics of small maps exactly on a CPU.

    For maps (N, C, 1, 1), torch's batch norm on a CPU adds N numbers in float32 one
    after the other. With 30 000 maps, as in a training step on the motion benchmark,
    the mean was off by 5e-5, and gradients of the network by up to ten times their
    usual rounding error. As one long map, the numbers are added in double precision.
    For maps of a few positions, torch is exact but slow: as one long map, a training
    step of the motion benchmark takes a quarter less time.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolution, norm and activation.

        Args:
            x: Maps, (N, C, H, W).

        Returns:
            (N, C', H', W').
        """
        x = self.conv(x)
        if (
            isinstance(self.norm, _BatchNorm)
            and self.norm.training
            and x.device.type == 'cpu'
            and x.dim() == 4
            and x.shape[2:].numel() <= _MAX_POSITIONS
        ):
            x = _norm_as_one_map(self.norm, x)
        elif self.norm is not None:
            x = self.norm(x)
        return self.activate(x) if self.with_activation else x


def _norm_as_one_map(norm: nn.Module, x: Tensor) -> Tensor:
    maps = _Swap.apply(x.flatten(2))  # (C, N, H*W)
    maps = norm(maps.view(1, x.size(1), -1, 1)).view_as(maps)
    return _Swap.apply(maps).view_as(x)


class _Swap(torch.autograd.Function):
    """Swaps the first two of three dimensions, in memory, too.

    Also in the backward pass: of a gradient with other strides, torch 2.13's batch norm
    on a CPU computes a wrong gradient.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.transpose(0, 1).clone(memory_format=torch.contiguous_format)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _Swap.apply(grad)
