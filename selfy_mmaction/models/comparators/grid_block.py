# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What the comparators that work on the matching grid share with the SELFY block."""

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

    The outer steps are those of :class:`SELFYBlock`, with the same defaults, so that
    a comparison with it is one of what happens between them. Any H and W.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Side of the grid over the side of the input. Default: 0.5.
        reduced_channels: Channels C_r on the grid. Default: 128.
        fusion: Config of the fusion. Default: :class:`ResidualFusion` in the form of
            Eq. 9.
        norm_cfg: Config of the norms. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: An unusable argument or combination.
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
        """What the block does on the grid.

        Args:
            x: Reduced features, (N*T, C_r, h, w).
            num_segments: As for :meth:`forward`.

        Returns:
            (N*T, C, h, w).
        """

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Add the block's representation to the visual features.

        Args:
            x: Visual features V, (N*T, C, H, W).
            num_segments: Frames per clip, T, of these features. Default: None, the
                ``num_segments`` that the block was built with.

        Returns:
            (N*T, C, H, W).

        Raises:
            ValueError: N*T is no multiple of ``num_segments``.
        """
        if num_segments is None:
            num_segments = self.num_segments
        check_num_segments(x.size(0), num_segments)
        out = self.on_grid(self.reduction(x), num_segments)
        return self.fusion(x, self.restoration(out, x.shape[-2:]))
