# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Convolution of the frames of clips."""

from torch import Tensor, nn


class FrameConv2d(nn.Conv2d):
    """2D convolution of each frame of clips (N, C, T, H, W).

    Equals a 3D convolution with kernels of size 1 along T, in the layout that norms
    with statistics over whole clips expect.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each frame.

        Args:
            x: Clips, (N, C, T, H, W).

        Returns:
            (N, C', T, H', W').
        """
        frames = x.transpose(1, 2)
        out = super().forward(frames.flatten(0, 1))
        return out.unflatten(0, frames.shape[:2]).transpose(1, 2)
