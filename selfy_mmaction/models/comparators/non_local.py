# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Non-local block (Section 4.5, supplement C)."""

from mmaction.registry import MODELS
from mmcv.cnn import NonLocal3d
from torch import Tensor

from selfy_mmaction.models.layers.building import Module
from selfy_mmaction.models.layers.norms import norm_3d
from selfy_mmaction.ops import (
    check_bool,
    check_int,
    check_num_segments,
)

from .grid_block import Config


@MODELS.register_module()
class NonLocalBlock(Module):
    """Non-local block over (t, x, y): Table 5 and Table 3g, "NL".

    Wang et al., "Non-local neural networks" (CVPR 2018), with the embedded Gaussian:
    mmcv's ``NonLocal3d`` applied per clip. It stores (T*H*W)^2 weights per clip.

    Starts as the identity: the scale of its norm is zero, as in the source.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        reduction: Ratio of C to the channels of queries, keys and values. Default: 2,
            as in the source.
        zero_init_last_norm: Whether to start as the identity. If False, the scale of
            the norm keeps mmcv's small random values. Default: True.
        norm_cfg: Config of the norm. Default: ``dict(type='BN')``.

    Raises:
        ValueError: If ``reduction`` is less than 1 or exceeds ``in_channels``, or an
            argument is invalid.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import NonLocalBlock
        >>> block = NonLocalBlock(in_channels=64, zero_init_last_norm=False)
        >>> block(torch.randn(8, 64, 7, 7)).shape
        torch.Size([8, 64, 7, 7])
        >>> block(torch.randn(9, 64, 7, 7))
        Traceback (most recent call last):
            ...
        ValueError: 9 frames cannot be split into clips of num_segments=8; ...
    """

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        reduction: int = 2,
        zero_init_last_norm: bool = True,
        norm_cfg: Config | None = None,
    ) -> None:
        super().__init__()
        self.num_segments = check_int('num_segments', num_segments)
        self.non_local = NonLocal3d(
            check_int('in_channels', in_channels),
            sub_sample=False,
            reduction=check_int('reduction', reduction, most=in_channels),
            norm_cfg=norm_3d(norm_cfg, (in_channels,), self),
            mode='embedded_gaussian',
            zeros_init=check_bool('zero_init_last_norm', zero_init_last_norm),
        )

    def init_weights(self) -> None:
        """Do nothing: ``NonLocal3d`` initializes itself when it is built."""

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Add the similarity-weighted mean over all positions to each position.

        Args:
            x: Visual features V, (N*T, C, H, W).
            num_segments: Frames per clip, T. Default: None, the block's
                ``num_segments``.

        Returns:
            (N*T, C, H, W).

        Raises:
            ValueError: If N*T is not a multiple of ``num_segments``.
        """
        if num_segments is None:
            num_segments = self.num_segments
        check_num_segments(x.size(0), num_segments)
        if x.numel() == 0:  # mmcv cannot reshape an empty batch
            return x
        clips = x.unflatten(0, (-1, num_segments)).transpose(1, 2)
        return self.non_local(clips.contiguous()).transpose(1, 2).flatten(0, 1)
