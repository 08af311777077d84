# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Reduction of the visual features to the matching grid (supplement, Section A)."""

from typing import Any

import torch.nn.functional as F
from mmaction.registry import MODELS
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from selfy_mmaction.models.layers.building import Module
from selfy_mmaction.models.layers.channel_layer_norm import ChannelLayerNorm
from selfy_mmaction.models.layers.norms import norm_2d
from selfy_mmaction.ops import check_choice, check_int, check_positive

SCALES = (0.25, 0.5, 1, 2)


@MODELS.register_module()
class ConvReduction(Module):
    """Convolution, norm and ReLU that map features to the matching grid.

    With 224x224 input, the paper always matches on 14x14 positions. Finer features are
    reduced by a strided convolution; coarser ones are first upsampled (nearest
    neighbor).

    Args:
        in_channels: Channels ``C`` of the visual features.
        out_channels: Channels after the reduction. Default: 128, as in the official
            code.
        scale: Side of the matching grid relative to that of the input: 0.25, 0.5, 1
            or 2. Default: 0.5, for features after res3.
        norm_cfg: Config of the norm. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.
        kernel_size: Size of the kernel, odd. Default: 3.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import ConvReduction
        >>> reduction = ConvReduction(in_channels=64, out_channels=16, scale=0.5)
        >>> reduction(torch.randn(8, 64, 28, 28)).shape  # (N*T, C_r, h, w)
        torch.Size([8, 16, 14, 14])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 128,
        scale: float = 0.5,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
        kernel_size: int = 3,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_int('in_channels', in_channels)
        check_int('out_channels', out_channels)
        check_choice('kernel_size', kernel_size, (1, 3, 5, 7))
        self.scale = check_choice('scale', scale, SCALES)
        self.conv = ConvModule(
            in_channels,
            out_channels,
            kernel_size,
            stride=max(1, round(1 / self.scale)),
            padding=kernel_size // 2,
            norm_cfg=norm_2d(norm_cfg, (out_channels,), self),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Reduce the features.

        Args:
            x: Visual features V, (N*T, C, H, W).

        Returns:
            (N*T, C_r, h, w) with h = ceil(scale * H), w = ceil(scale * W).
        """
        if self.scale > 1:
            x = F.interpolate(x, scale_factor=self.scale, mode='nearest')
        return self.conv(x)


@MODELS.register_module()
class LayerNormReduction(Module):
    """Layer norm over the channels, then a linear layer, per position.

    The reduction of MOSS and of RLDX-1's motion module, for features of transformers.

    Args:
        in_channels: Channels ``C`` of the visual features.
        out_channels: Channels after the reduction. Default: 128, as in MOSS.
        scale: Side of the matching grid relative to that of the input: 0.25, 0.5, 1
            or 2. Features of finer or coarser grids are averaged over the cells of the
            grid, or repeated, which is ours: the source has features of one scale.
            Default: 1.
        eps: Added to the variance. Default: 1e-5, as in MOSS; RLDX-1 has 1e-6.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import LayerNormReduction
        >>> reduction = LayerNormReduction(in_channels=192, out_channels=32)
        >>> reduction(torch.randn(8, 192, 14, 14)).shape
        torch.Size([8, 32, 14, 14])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 128,
        scale: float = 1,
        eps: float = 1e-5,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.scale = check_choice('scale', scale, SCALES)
        check_int('in_channels', in_channels)
        self.norm = ChannelLayerNorm(in_channels, check_positive('eps', eps))
        self.linear = nn.Linear(in_channels, check_int('out_channels', out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Reduce the features.

        Args:
            x: Visual features V, (N*T, C, H, W).

        Returns:
            (N*T, C_r, h, w) with h = ceil(scale * H), w = ceil(scale * W).
        """
        if self.scale > 1:
            x = F.interpolate(x, scale_factor=self.scale, mode='nearest')
        elif self.scale < 1:
            cell = round(1 / self.scale)
            x = F.avg_pool2d(x, cell, ceil_mode=True, count_include_pad=False)
        return self.linear(self.norm(x.movedim(1, -1))).movedim(-1, 1)
