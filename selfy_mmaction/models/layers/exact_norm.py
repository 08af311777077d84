# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Convolution whose batch norm is exact for thousands of 1x1 maps."""

from mmcv.cnn import ConvModule
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm


class ExactNormConvModule(ConvModule):
    """``ConvModule`` that takes the statistics of 1x1 maps exactly on a CPU.

    For maps (N, C, 1, 1), torch's batch norm on a CPU adds N numbers in float32 one
    after the other. With 30 000 maps, as in a training step on the motion benchmark,
    the mean was off by 5e-5, and gradients of the network by up to ten times their
    usual rounding error. As one long map, the numbers are added in double precision.
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
            and x.shape[2:].numel() == 1
        ):
            long_map = x.flatten(1).T.contiguous()[None, :, :, None]
            x = self.norm(long_map)[0, :, :, 0].T.contiguous()[..., None, None]
        elif self.norm is not None:
            x = self.norm(x)
        return self.activate(x) if self.with_activation else x
