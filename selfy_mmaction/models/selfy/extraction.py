# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Feature extraction from the STSS tensor (Section 3.2.1, supplement C)."""

from collections.abc import Sequence
from typing import Any

import torch
from mmaction.registry import MODELS
from mmcv.cnn import ConvModule
from mmengine.model import Sequential
from torch import Tensor, nn

from selfy_mmaction.models.layers.building import Module
from selfy_mmaction.models.layers.norms import norm_2d, norm_3d
from selfy_mmaction.models.layers.whole_map_conv import WholeMapConv2d
from selfy_mmaction.ops import (
    check_choice,
    check_ints,
    check_positive,
    check_window,
)

Pair = tuple[int, int]


@MODELS.register_module()
class ConvExtraction(Module):
    """Convolutions over (l, u, v), Eq. 5 and 6.

    1x3x3 kernels, each followed by norm and ReLU, that stride (U, V) down and keep L.

    The paper gives no strides. For 9x9 those of the official code are (1, 2, 2, 1),
    with a padding of 1 except in the last layer. One rule, which gives these, serves
    every odd window, rows and columns apart. Between the first and the last layer the
    stride is 2 where 5 or more positions are left, with the padding, 1 or 0, that
    leaves an odd number. The last layer has no padding and takes sides of up to 9 to 1.
    Larger sides it takes to 2 or more, which are averaged: its stride is 2, with a
    padding of 1 where 3 positions are left. Sides of 5, 9, 13 and 17 become 5-3-3-1,
    9-5-3-1, 13-7-3-2 and 17-9-5-2; with these our counts of multiply-adds are 0.7 to
    1.1 % below each of supplement Table 3a. Of all strides up to 4 and paddings up to
    2, none that ends at 1 and sees every position comes within 6 % at 17.

    Args:
        window: Spatial window (U, V) of the STSS tensor. Default: (9, 9).
        channels: Width of each layer; the last is C_F. Default: (4, 16, 64, 64), as
            in the authors' code.
        temporal_kernel: Size of the kernels along l, 1 or 3; 3 is that of supplement
            Table 3d, padded by 1. Default: 1.
        norm_cfg: Config of the norm. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: There are no channels, another temporal kernel, or another
            unusable argument.

    Attributes:
        out_channels: C_F.
    """

    def __init__(
        self,
        window: int | Sequence[int] = (9, 9),
        channels: Sequence[int] = (4, 16, 64, 64),
        temporal_kernel: int = 1,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.window = check_window(window)
        self.temporal_kernel = check_choice('temporal_kernel', temporal_kernel, (1, 3))
        channels = check_ints('channels', channels)
        layout = _choose_layout(self.window, len(channels))
        self.out_channels = channels[-1]

        def layer(
            before: int, after: int, stride: tuple[int, ...], padding: tuple[int, ...]
        ) -> nn.Module:
            if temporal_kernel == 1:
                kwargs = dict(
                    conv_cfg=dict(type=WholeMapConv2d),
                    norm_cfg=norm_2d(norm_cfg, channels, self),
                )
            else:
                stride, padding = (1, *stride), (1, *padding)
                kwargs = dict(
                    conv_cfg=dict(type='Conv3d'),
                    norm_cfg=norm_3d(norm_cfg, channels, self),
                )
            return ConvModule(before, after, 3, stride, padding, **kwargs)

        widths = zip((1, *channels[:-1]), channels, strict=True)
        self.layers = Sequential(
            *(
                layer(before, after, stride, padding)
                for (before, after), (stride, padding) in zip(
                    widths, layout, strict=True
                )
            )
        )

    def forward(self, stss: Tensor) -> Tensor:
        """Extract a feature per position and temporal offset.

        Args:
            stss: STSS tensor S, (N, T, h, w, L, U, V).

        Returns:
            STSS features F, (N, T, h, w, L, C_F).
        """
        if self.temporal_kernel == 1:
            # A kernel of size 1 along l sees one offset at a time, so l joins the
            # batch: the same sums as a 3D convolution, many times faster on a CPU.
            maps = stss.reshape(-1, 1, *stss.shape[-2:])  # (N*T*h*w*L, 1, U, V)
            feats = self.layers(maps).mean((-2, -1))  # (N*T*h*w*L, C_F)
        else:
            volumes = stss.flatten(0, 3).unsqueeze(1)  # (N*T*h*w, 1, L, U, V)
            feats = self.layers(volumes).mean((-2, -1)).mT  # (N*T*h*w, L, C_F)
        return feats.reshape(*stss.shape[:-2], self.out_channels)


def _choose_layout(window: Pair, num_layers: int) -> list[tuple[Pair, Pair]]:
    """Strides and paddings, a pair each per layer, by the rule of ConvExtraction."""
    rows, cols = (_choose_side_layout(side, num_layers) for side in window)
    return [
        ((row_stride, col_stride), (row_padding, col_padding))
        for (row_stride, row_padding), (col_stride, col_padding) in zip(
            rows, cols, strict=True
        )
    ]


def _choose_side_layout(side: int, num_layers: int) -> list[tuple[int, int]]:
    """Stride and padding per layer for one odd side of the window."""
    layout, left = [], side
    for layer in range(num_layers):
        if left == 1:
            stride, padding = 1, 1
        elif layer == num_layers - 1:
            stride = 2 if left > 3 or side > 9 else 1
            padding = 1 if left == 3 and side > 9 else 0
        elif layer == 0 or left < 5:
            stride, padding = 1, 1
        else:
            stride, padding = 2, (left + 1) // 2 % 2
        layout.append((stride, padding))
        left = (left + 2 * padding - 3) // stride + 1
    return layout


@MODELS.register_module()
class MLPExtraction(Module):
    """Perceptrons on the flattened (U, V), Eq. 3 and 4.

    Fully-connected layers, each followed by norm and ReLU, shared by all positions and
    temporal offsets. Table 4b has four of them. The norm, which Eq. 3 does not write,
    is that of the other extractions; a batch norm takes its statistics over all
    positions and offsets.

    Args:
        window: Spatial window (U, V) of the STSS tensor. Default: (9, 9).
        channels: Width of each layer; the last is C_F. Default: (64, 64, 64, 64). The
            widths are not in the paper; C_F is that of the convolution.
        norm_cfg: Config of the norm. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: There are no channels, or unusable arguments.

    Attributes:
        out_channels: C_F.
    """

    def __init__(
        self,
        window: int | Sequence[int] = (9, 9),
        channels: Sequence[int] = (64, 64, 64, 64),
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.window = check_window(window)
        channels = check_ints('channels', channels)
        norm_cfg = norm_2d(norm_cfg, channels, self)
        self.out_channels = channels[-1]
        widths = (self.window[0] * self.window[1], *channels)
        # A 1x1 convolution on 1x1 maps is a fully-connected layer to which every norm
        # of the registry fits.
        self.layers = Sequential(
            *(
                ConvModule(before, after, kernel_size=1, norm_cfg=norm_cfg)
                for before, after in zip(widths[:-1], widths[1:], strict=True)
            )
        )

    def forward(self, stss: Tensor) -> Tensor:
        """Extract a feature per position and temporal offset.

        Args:
            stss: STSS tensor S, (N, T, h, w, L, U, V).

        Returns:
            STSS features F, (N, T, h, w, L, C_F).
        """
        rows = stss.reshape(-1, stss.size(-2) * stss.size(-1), 1, 1)
        return self.layers(rows).reshape(*stss.shape[:-2], self.out_channels)


@MODELS.register_module()
class SoftArgmaxExtraction(Module):
    r"""Expected displacement under the softmax of the similarities, Eq. 2.

    .. math::
        F_{t,x,y,l} = \sum_{u,v} \mathrm{softmax}_{u,v}(S_{t,x,y,l} / \tau) \, [u; v]

    The displacement is in cells of the matching grid, rows first, as the equation
    writes it: ``u`` from ``-(U // 2)`` to ``U // 2``, ``v`` likewise. Positions outside
    the frame take part with their similarity of zero. Computed in float32 at least.

    Args:
        window: Spatial window (U, V) of the STSS tensor. Default: (9, 9).
        temperature: tau. Default: 0.01, the paper's.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: The temperature is not positive.

    Attributes:
        out_channels: C_F = 2.
    """

    out_channels = 2

    def __init__(
        self,
        window: int | Sequence[int] = (9, 9),
        temperature: float = 0.01,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.window = check_window(window)
        self.temperature = check_positive('temperature', temperature)
        # Buffers, so that they follow the module to its device; not persistent, since
        # the window says them.
        self.register_buffer('u', _displacements(self.window[0]), persistent=False)
        self.register_buffer('v', _displacements(self.window[1]), persistent=False)

    def forward(self, stss: Tensor) -> Tensor:
        """Extract a displacement per position and temporal offset.

        Args:
            stss: STSS tensor S, (N, T, h, w, L, U, V).

        Returns:
            Displacements (u, v), (N, T, h, w, L, 2), in the dtype of ``stss``.
        """
        stss_f32 = stss.to(torch.promote_types(stss.dtype, torch.float32))
        return self._soft_argmax(stss_f32).to(stss.dtype)

    def _soft_argmax(self, stss: Tensor) -> Tensor:
        weights = (stss / self.temperature).flatten(-2).softmax(-1)
        weights = weights.unflatten(-1, self.window)
        # Sums of products rather than a matrix product, which autocast would round.
        u = (weights.sum(-1) * self.u).sum(-1)
        v = (weights.sum(-2) * self.v).sum(-1)
        return torch.stack([u, v], -1)

    def extra_repr(self) -> str:
        return f'window={self.window}, temperature={self.temperature}'


def _displacements(size: int) -> Tensor:
    return torch.arange(-(size // 2), size // 2 + 1, dtype=torch.float32)


@MODELS.register_module()
class KernelSoftArgmaxExtraction(SoftArgmaxExtraction):
    r"""Kernel soft-argmax and confidence of MotionSqueeze, supplement Table 3f (KS+CM).

    With :math:`S^+ = \mathrm{ReLU}(S)` and its arg max :math:`(u^*, v^*)`,

    .. math::
        G_{u,v} &= \exp(-((u - u^*)^2 + (v - v^*)^2) / 2 \sigma^2) \\
        F &= [\sum_{u,v} \mathrm{softmax}_{u,v}(G S^+ / \tau) [u / d_U; v / d_V];
        \max_{u,v} S^+_{u,v}]

    ReLU and division by :math:`d_U = U // 2` and :math:`d_V`, which brings the
    displacement to [-1, 1], are those of MotionSqueeze's code, which the supplement
    says it follows; that code has v before u. No gradient flows through the arg max.
    Of several maxima the first in the order of (u, v) counts. Computed in float32 at
    least.

    Args:
        window: Spatial window (U, V) of the STSS tensor. Default: (9, 9).
        temperature: tau. Default: 0.01, MotionSqueeze's.
        sigma: Standard deviation of the Gaussian kernel, in grid cells. Default: 5,
            MotionSqueeze's.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: The temperature or sigma is not positive.

    Attributes:
        out_channels: C_F = 3.
    """

    out_channels = 3

    def __init__(
        self,
        window: int | Sequence[int] = (9, 9),
        temperature: float = 0.01,
        sigma: float = 5,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(window, temperature, init_cfg)
        self.sigma = check_positive('sigma', sigma, least=1e-18)  # squared in float32

    def forward(self, stss: Tensor) -> Tensor:
        """Extract displacement and confidence per position and temporal offset.

        Args:
            stss: STSS tensor S, (N, T, h, w, L, U, V).

        Returns:
            (u, v) in [-1, 1] and the highest similarity, (N, T, h, w, L, 3), in the
            dtype of ``stss``.
        """
        similarities = stss.to(torch.promote_types(stss.dtype, torch.float32)).relu()
        confidence, index = similarities.flatten(-2).max(-1)
        # One factor of the Gaussian per axis.
        u, v = self.u.to(similarities), self.v.to(similarities)
        rows = self._kernel(u, index // self.window[1]).unsqueeze(-1)
        cols = self._kernel(v, index % self.window[1]).unsqueeze(-2)
        displacement = self._soft_argmax(rows * cols * similarities)
        # A window of 1 has no displacement to scale.
        reach = displacement.new_tensor([max(1, size // 2) for size in self.window])
        out = torch.cat([displacement / reach, confidence.unsqueeze(-1)], -1)
        return out.to(stss.dtype)

    def _kernel(self, displacements: Tensor, index: Tensor) -> Tensor:
        distance = displacements - displacements[index].unsqueeze(-1)
        return torch.exp(-distance.square() / (2 * self.sigma**2))

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}, sigma={self.sigma}'
