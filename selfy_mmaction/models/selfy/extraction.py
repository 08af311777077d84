# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Feature extraction from the STSS tensor (Section 3.2.1, supplement C)."""

from collections.abc import Sequence
from typing import Any

from mmaction.registry import MODELS
from mmengine.model import Sequential
from torch import Tensor, nn

from selfy_mmaction.models.layers.activations import activation
from selfy_mmaction.models.layers.building import Module
from selfy_mmaction.models.layers.exact_norm import ExactNormConvModule
from selfy_mmaction.models.layers.norms import norm_2d, norm_3d
from selfy_mmaction.models.layers.small_map_conv import SmallMapConv2d
from selfy_mmaction.ops import check_choice, check_ints, check_window

Pair = tuple[int, int]


@MODELS.register_module()
class ConvExtraction(Module):
    """Convolutions over (l, u, v), Eq. 5 and 6.

    1x3x3 kernels, each followed by norm and ReLU, reduce (U, V) by strides and keep L.

    The paper does not give the strides. For 9x9, the official code uses (1, 2, 2, 1),
    with a padding of 1 except in the last layer. One rule reproduces these values and
    covers every odd window, separately for rows and columns. Between the first and the
    last layer, the stride is 2 if 5 or more positions are left, with the padding (1 or
    0) that leaves an odd number. The last layer has no padding and reduces windows of
    up to 9 to a single position. For larger windows, its stride is 2, with a padding of
    1 if 3 positions are left, and the 2 or more positions that remain are averaged.
    Sides of 5, 9, 13 and 17 become 5-3-3-1, 9-5-3-1, 13-7-3-2 and 17-9-5-2. The
    resulting multiply-adds are 0.7 to 1.1 % below those of supplement Table 3a. For 17,
    no choice of strides up to 4 and paddings up to 2 that covers every position and
    ends at 1 comes within 6 %.

    Args:
        window: Spatial window (U, V) of the STSS tensor. Default: (9, 9).
        channels: Width of each layer; the last is C_F. Default: (4, 16, 64, 64), as
            in the official code.
        temporal_kernel: Size of the kernels along l, 1 or 3. Supplement Table 3d uses
            3, which is padded by 1. Default: 1.
        norm_cfg: Config of the norm. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If ``channels`` is empty, ``temporal_kernel`` is not 1 or 3, or an
            argument is invalid.

    Attributes:
        out_channels: C_F.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import ConvExtraction
        >>> extraction = ConvExtraction(window=(5, 5), channels=(4, 16, 32))
        >>> extraction(torch.rand(2, 4, 7, 7, 3, 5, 5)).shape  # (N, T, h, w, L, C_F)
        torch.Size([2, 4, 7, 7, 3, 32])
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
                    conv_cfg=dict(type=SmallMapConv2d),
                    norm_cfg=norm_2d(norm_cfg, channels, self),
                )
            else:
                stride, padding = (1, *stride), (1, *padding)
                kwargs = dict(
                    conv_cfg=dict(type='Conv3d'),
                    norm_cfg=norm_3d(norm_cfg, channels, self),
                )
            return ExactNormConvModule(before, after, 3, stride, padding, **kwargs)

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
        """Extract one feature vector per position and temporal offset.

        Args:
            stss: STSS tensor S, (N, T, h, w, L, U, V).

        Returns:
            STSS features F, (N, T, h, w, L, C_F).
        """
        if self.temporal_kernel == 1:
            # Kernels of size 1 along l see one offset at a time, so l moves to the
            # batch. Equals a 3D convolution and is many times faster on a CPU.
            maps = stss.reshape(-1, 1, *stss.shape[-2:])  # (N*T*h*w*L, 1, U, V)
            feats = self.layers(maps).mean((-2, -1))  # (N*T*h*w*L, C_F)
        else:
            volumes = stss.flatten(0, 3).unsqueeze(1)  # (N*T*h*w, 1, L, U, V)
            feats = self.layers(volumes).mean((-2, -1)).mT  # (N*T*h*w, L, C_F)
        return feats.reshape(*stss.shape[:-2], self.out_channels)


def _choose_layout(window: Pair, num_layers: int) -> list[tuple[Pair, Pair]]:
    """Return (strides, paddings) per layer by the rule of ConvExtraction."""
    rows, cols = (_choose_side_layout(side, num_layers) for side in window)
    return [
        ((row_stride, col_stride), (row_padding, col_padding))
        for (row_stride, row_padding), (col_stride, col_padding) in zip(
            rows, cols, strict=True
        )
    ]


def _choose_side_layout(side: int, num_layers: int) -> list[tuple[int, int]]:
    """Return (stride, padding) per layer for one odd side of the window."""
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
    """Perceptrons over the flattened (U, V), Eq. 3 and 4.

    Fully-connected layers, each followed by norm and ReLU, shared by all positions and
    temporal offsets. Table 4b uses four. Eq. 3 does not show a norm; as in
    :class:`ConvExtraction`, each layer has one. Batch norm takes its statistics over
    all positions and offsets.

    Args:
        window: Spatial window (U, V) of the STSS tensor. Default: (9, 9).
        channels: Width of each layer; the last is C_F. The paper does not give the
            widths; C_F is that of :class:`ConvExtraction`. Default: (64, 64, 64, 64).
        norm_scope: 'position' or 'clip': what a norm with statistics per sample, such
            as GN, takes them over: the channels of one position and temporal offset, or
            the clip with all of its positions, each temporal offset alone.
            Default: 'position'.
        norm_cfg: Config of the norm. Default: ``dict(type='BN')``.
        act_cfg: Config of the activation. Default: ``dict(type='ReLU')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If ``channels`` is empty or an argument is invalid.

    Attributes:
        out_channels: C_F.

    Example:
        >>> import torch
        >>> from mmaction.registry import MODELS
        >>> import selfy_mmaction  # registers the modules
        >>> extraction = MODELS.build(
        ...     dict(type='MLPExtraction', window=(5, 5), act_cfg=dict(type='GELU'))
        ... )
        >>> extraction(torch.rand(2, 4, 7, 7, 3, 5, 5)).shape
        torch.Size([2, 4, 7, 7, 3, 64])
    """

    def __init__(
        self,
        window: int | Sequence[int] = (9, 9),
        channels: Sequence[int] = (64, 64, 64, 64),
        norm_scope: str = 'position',
        norm_cfg: dict[str, Any] | None = None,
        act_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.window = check_window(window)
        channels = check_ints('channels', channels)
        self.norm_scope = check_choice('norm_scope', norm_scope, ('position', 'clip'))
        norm_cfg = norm_2d(norm_cfg, channels, self)
        act_cfg = activation(act_cfg)
        self.out_channels = channels[-1]
        widths = (self.window[0] * self.window[1], *channels)
        # Fully-connected layers as 1x1 convolutions, which support every registered
        # norm.
        self.layers = Sequential(
            *(
                ExactNormConvModule(
                    before, after, 1, norm_cfg=norm_cfg, act_cfg=act_cfg
                )
                for before, after in zip(widths[:-1], widths[1:], strict=True)
            )
        )

    def forward(self, stss: Tensor) -> Tensor:
        """Extract one feature vector per position and temporal offset.

        Args:
            stss: STSS tensor S, (N, T, h, w, L, U, V).

        Returns:
            STSS features F, (N, T, h, w, L, C_F).
        """
        if self.norm_scope == 'position':
            rows = stss.reshape(-1, stss.size(-2) * stss.size(-1), 1, 1)
            return self.layers(rows).reshape(*stss.shape[:-2], self.out_channels)
        clips, frames, height, width, num_offsets = stss.shape[:5]
        maps = stss.flatten(-2).flatten(2, 3)  # (N, T, h*w, L, U*V)
        maps = maps.permute(0, 3, 4, 1, 2).flatten(0, 1)  # (N*L, U*V, T, h*w)
        feats = self.layers(maps).unflatten(0, (clips, num_offsets))
        return feats.permute(0, 3, 4, 1, 2).unflatten(2, (height, width))
