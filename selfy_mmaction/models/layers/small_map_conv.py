# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Convolution of many small maps."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# In larger maps, multiplying by zeros costs more than the convolution.
_MAX_POSITIONS = 400


class SmallMapConv2d(nn.Conv2d):
    """``torch.nn.Conv2d`` as a matrix product where that is faster.

    The parameters and results are those of ``Conv2d``. Two convolutions of thousands
    of maps are slow in torch, above all their backward passes on a CPU:

    - a kernel that covers the whole map;
    - a single input channel, in training on a CPU. The matrix is the convolution of
      the unit maps. FLOP counters would count its zeros, so evaluation, in which
      models are counted, keeps the convolution.

    These are the last and the first layer of :class:`ConvExtraction`. Without this
    class a training step of SELFYNet-TSM-R50 takes 2 % longer.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve the maps.

        Args:
            input: (N, C, H, W).

        Returns:
            (N, C', H', W').
        """
        sizes = input.shape[2:]
        covers = sizes == self.kernel_size and self.padding == (0, 0)
        if covers and self.dilation == (1, 1) and self.groups == 1:
            out = F.linear(input.flatten(1), self.weight.flatten(1), self.bias)
            return out[..., None, None]
        if (
            self.training
            and self.in_channels == 1
            and self.padding_mode == 'zeros'
            and sizes.numel() <= _MAX_POSITIONS
            and input.device.type == 'cpu'
        ):
            units = torch.eye(sizes.numel(), dtype=self.weight.dtype)
            units = units.view(-1, 1, *sizes)
            matrix = F.conv2d(
                units,
                self.weight,
                stride=self.stride,
                padding=self.padding,
                dilation=self.dilation,
            )
            out = (input.flatten(1) @ matrix.flatten(1)).unflatten(1, matrix.shape[1:])
            if self.bias is None:
                return out
            return out + self.bias.to(out)[:, None, None]
        return super().forward(input)
