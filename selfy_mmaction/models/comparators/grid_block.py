# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Base of the comparators that work on the matching grid, as the SELFY block does."""

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

from selfy_mmaction.models.layers.building import build
from selfy_mmaction.models.layers.zero_init import ZeroInitBlock
from selfy_mmaction.models.selfy.reduction import ConvReduction
from selfy_mmaction.models.selfy.restoration import UpsampleRestoration
from selfy_mmaction.ops import check_int, check_num_segments

Config = dict[str, Any]


class GridBlock(ZeroInitBlock):
    """Reduction -> :meth:`on_grid` -> restoration -> fusion.

    The outer steps and their defaults are those of :class:`SELFYBlock`, so comparisons
    with it differ only in the steps between. Supports any H and W.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Side of the grid relative to that of the input. Default: 0.5.
        reduced_channels: Channels C_r on the grid. Default: 128.
        fusion: Config of the fusion. Default: :class:`ResidualFusion` as in Eq. 9.
        norm_cfg: Config of the norms. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If an argument is invalid or arguments are incompatible.
    """

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        scale: float = 0.5,
        reduced_channels: int = 128,
        fusion: Config | None = None,
        norm_cfg: Config | None = None,
        init_cfg: Config | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.num_segments = check_int('num_segments', num_segments)
        check_int('reduced_channels', reduced_channels)
        self.reduction = ConvReduction(in_channels, reduced_channels, scale, norm_cfg)
        self.restoration = UpsampleRestoration()
        self.fusion = build('fusion', fusion, 'ResidualFusion')

    @property
    @abstractmethod
    def last_norm(self) -> nn.Module:
        """The norm before the restoration."""

    @abstractmethod
    def on_grid(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Map reduced features to the representation to restore.

        Args:
            x: Reduced features, (N*T, C_r, h, w).
            num_segments: See :meth:`forward`.

        Returns:
            (N*T, C, h, w).
        """

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Add the block's representation to the visual features.

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
        out = self.on_grid(self.reduction(x), num_segments)
        return self.fusion(x, self.restoration(out, x.shape[-2:]))
