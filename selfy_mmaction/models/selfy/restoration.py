# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Restoration of the size of the visual features (supplement, Section A)."""

from typing import Any

import torch.nn.functional as F
from mmaction.registry import MODELS
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from selfy_mmaction.models.layers.building import Module
from selfy_mmaction.models.layers.norms import norm_2d
from selfy_mmaction.ops import check_choice, check_int

from .reduction import SCALES


@MODELS.register_module()
class UpsampleRestoration(Module):
    """Interpolation; the paper only says "upsample".

    Args:
        mode: Mode of ``torch.nn.functional.interpolate``: 'nearest', 'bilinear', or
            'area', which averages if the grid is finer than the features, as in
            :class:`SELFYNeck`. Default: 'nearest', which commutes with the ReLU of
            Eq. 9.
        in_channels: Width of the integrated features. Default: None, unchecked.
        out_channels: C, the width of the visual features. Default: None, unchecked.

    Raises:
        ValueError: If ``mode`` is not supported, a width is invalid, or the widths
            differ, because interpolation keeps the width.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import UpsampleRestoration
        >>> restoration = UpsampleRestoration(mode='bilinear')
        >>> restoration(torch.randn(8, 64, 14, 14), size=(28, 28)).shape
        torch.Size([8, 64, 28, 28])
    """

    def __init__(
        self,
        mode: str = 'nearest',
        in_channels: int | None = None,
        out_channels: int | None = None,
    ) -> None:
        super().__init__()
        for name, width in (
            ('in_channels', in_channels),
            ('out_channels', out_channels),
        ):
            if width is not None:
                check_int(name, width)
        if in_channels != out_channels:
            raise ValueError(
                f'UpsampleRestoration keeps the in_channels={in_channels} of the '
                f'integration, but the visual features have out_channels='
                f'{out_channels}; use an integration that outputs as many channels '
                '(ConvIntegration), or restoration='
                "dict(type='TransposedConvRestoration')"
            )
        self.mode = check_choice('mode', mode, ('nearest', 'bilinear', 'area'))

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Restore the size of the visual features.

        Args:
            x: Integrated features, (N*T, C, h, w).
            size: Size (H, W) of the visual features.

        Returns:
            (N*T, C, H, W).
        """
        (height, width), (rows, cols) = size, x.shape[-2:]
        if (height, width) == (rows, cols):
            return x
        if self.mode == 'nearest' and height % rows == 0 and width % cols == 0:
            # Equals interpolation and is four times as fast on a CPU.
            x = x.repeat_interleave(width // cols, -1)
            return x.repeat_interleave(height // rows, -2)
        return F.interpolate(x, size=size, mode=self.mode)


@MODELS.register_module()
class TransposedConvRestoration(Module):
    """1x1 transposed convolution with stride 2, then norm: the official form.

    It writes every other row and column. The other three of four positions are zeros
    before the norm.

    Args:
        in_channels: Width of the integrated features.
        out_channels: C, the width of the visual features.
        scale: Side of the matching grid relative to that of the visual features; must
            be 0.5. Default: 0.5.
        norm_cfg: Config of the norm. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: Kaiming, as in the official code.

    Raises:
        ValueError: If ``scale`` is not 0.5, or a width or ``norm_cfg`` is invalid.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import TransposedConvRestoration
        >>> restoration = TransposedConvRestoration(in_channels=64, out_channels=128)
        >>> restoration(torch.randn(8, 64, 14, 14), size=(27, 28)).shape
        torch.Size([8, 128, 27, 28])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        scale: float = 0.5,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        if init_cfg is None:
            init_cfg = dict(type='Kaiming', layer='ConvTranspose2d')
        super().__init__(init_cfg=init_cfg)
        check_int('in_channels', in_channels)
        check_int('out_channels', out_channels)
        if check_choice('scale', scale, SCALES) != 0.5:
            raise ValueError(
                'TransposedConvRestoration doubles the sides of the matching grid, '
                f'which requires scale=0.5 (after res3), but got {scale}; use '
                "restoration=dict(type='UpsampleRestoration') with an integration "
                'that outputs the channels of the visual features'
            )
        self.conv = nn.ConvTranspose2d(
            in_channels, out_channels, kernel_size=1, stride=2, bias=False
        )
        norm_cfg = norm_2d(norm_cfg, (out_channels,), self)
        _, self.norm = build_norm_layer(norm_cfg, out_channels)

    @property
    def last_norm(self) -> nn.Module:
        """The norm after the transposed convolution, the last of the block."""
        return self.norm

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Restore the size and width of the visual features.

        Args:
            x: Integrated features, (N*T, C', h, w).
            size: Size (H, W) of the visual features; 2h or 2h - 1, 2w or 2w - 1.

        Returns:
            (N*T, C, H, W).
        """
        return self.norm(self.conv(x, output_size=size))


@MODELS.register_module()
class ExpansionRestoration(Module):
    """1x1 convolution without norm that expands to the visual features: ATM's form.

    With ``scale=0.5`` it is a transposed convolution that writes every other row and
    column, as in :class:`TransposedConvRestoration`. With 0.25 and 2, which ATM lacks,
    the result is repeated or averaged.

    Args:
        in_channels: Width of the integrated features.
        out_channels: C, the width of the visual features.
        scale: Side of the matching grid relative to that of the visual features: 0.25,
            0.5, 1 or 2. Default: 1.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import ExpansionRestoration
        >>> restoration = ExpansionRestoration(64, out_channels=128, scale=0.5)
        >>> restored = restoration(torch.randn(8, 64, 14, 14), size=(28, 28))
        >>> restored.shape
        torch.Size([8, 128, 28, 28])
        >>> restored[:, :, 1::2].any(), restored[:, :, :, 1::2].any()
        (tensor(False), tensor(False))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        scale: float = 1,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_int('in_channels', in_channels)
        check_int('out_channels', out_channels)
        self.scale = check_choice('scale', scale, SCALES)
        self.resize = UpsampleRestoration('area' if scale > 1 else 'nearest')
        self.conv = (
            nn.ConvTranspose2d(in_channels, out_channels, 1, stride=2, bias=False)
            if scale == 0.5
            else nn.Conv2d(in_channels, out_channels, 1, bias=False)
        )

    @property
    def last_norm(self) -> nn.Module:
        """The convolution, whose weights take the place of the scale of a norm."""
        return self.conv

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Restore the size and width of the visual features.

        Args:
            x: Integrated features, (N*T, C', h, w).
            size: Size (H, W) of the visual features; with ``scale=0.5``, 2h or 2h - 1,
                2w or 2w - 1.

        Returns:
            (N*T, C, H, W).
        """
        if self.scale == 0.5:
            return self.conv(x, output_size=size)
        return self.resize(self.conv(x), size)
