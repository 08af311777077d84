# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Feature extraction from the STSS tensor (Section 3.2.1)."""

from collections.abc import Sequence
from typing import Any

import torch
from mmaction.registry import MODELS
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, Sequential
from torch import Tensor

from selfy_mmaction.ops import check_window


@MODELS.register_module()
class ConvExtraction(BaseModule):
    """Convolutions over (l, u, v), Eq. 5 and 6.

    1x3x3 kernels, each followed by norm and ReLU, that stride (U, V) down to 1x1 and
    keep L. The last has no padding.

    Args:
        window: Spatial window (U, V) of the STSS tensor. Default: (9, 9).
        channels: Width of each layer; the last is C_F. Default: (4, 16, 64, 64), as
            in the authors' code.
        strides: Stride of each layer over (u, v). Default: (1, 2, 2, 1), which take
            a window of 9x9 to 1x1.
        norm_cfg: Config of the norm. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: The layers do not take the window to 1x1, or channels and strides
            differ in number.

    Attributes:
        out_channels: C_F.
    """

    def __init__(
        self,
        window: Sequence[int] = (9, 9),
        channels: Sequence[int] = (4, 16, 64, 64),
        strides: Sequence[int] = (1, 2, 2, 1),
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if len(channels) != len(strides):
            raise ValueError(
                'channels and strides must have one entry a layer, but got '
                f'channels={tuple(channels)} and strides={tuple(strides)}'
            )
        paddings = [1] * (len(channels) - 1) + [0]
        sizes = [check_window(window)]
        for stride, padding in zip(strides, paddings, strict=True):
            sizes.append(tuple((n + 2 * padding - 3) // stride + 1 for n in sizes[-1]))
        if sizes[-1] != (1, 1):
            raise ValueError(
                f'strides={tuple(strides)} take a window of {sizes[0]} to '
                f'{" -> ".join(map(str, sizes[1:]))}; choose strides that end at '
                '(1, 1), for example (1, 2, 2, 1) for 9x9 and (1, 2, 1, 1) for 5x5'
            )
        self.window = sizes[0]
        self.out_channels = channels[-1]
        self.layers = Sequential(
            *(
                ConvModule(
                    in_channels,
                    out_channels,
                    kernel_size=3,
                    stride=stride,
                    padding=padding,
                    norm_cfg=norm_cfg or dict(type='BN'),
                )
                for in_channels, out_channels, stride, padding in zip(
                    (1, *channels[:-1]), channels, strides, paddings, strict=True
                )
            )
        )
        # Few channels on many small maps: twice as fast on a CPU with channels last.
        self.layers.to(memory_format=torch.channels_last)

    def forward(self, stss: Tensor) -> Tensor:
        """Extract a feature per position and temporal offset.

        Args:
            stss: STSS tensor S, (N, T, h, w, L, U, V).

        Returns:
            STSS features F, (N, T, h, w, L, C_F).
        """
        # A kernel of size 1 along l sees one offset at a time, so l joins the batch:
        # the same sums as a 3D convolution, many times faster on a CPU.
        maps = stss.reshape(-1, 1, *stss.shape[-2:])  # (N*T*h*w*L, 1, U, V)
        feats = self.layers(maps)  # (N*T*h*w*L, C_F, 1, 1)
        return feats.reshape(*stss.shape[:-2], self.out_channels)
