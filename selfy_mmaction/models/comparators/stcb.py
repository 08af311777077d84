# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Basic blocks of the study of complementarity (Section 4.6, Figure 4)."""

from collections.abc import Sequence
from typing import Any

from mmaction.registry import MODELS
from mmcv.cnn import ConvModule
from mmengine.model import Sequential
from torch import Tensor, nn

from selfy_mmaction.models.layers.building import check_config
from selfy_mmaction.models.layers.norms import norm_3d
from selfy_mmaction.models.selfy.block import SELFYBlock
from selfy_mmaction.ops import check_ints

from .grid_block import Config, GridBlock

# (t, x, y): the receptive field (5, 9, 9) of a SELFY block on its grid.
_KERNELS = ((1, 3, 3), (3, 3, 3), (3, 3, 3), (1, 3, 3))


@MODELS.register_module()
class STCB(GridBlock):
    """Spatio-temporal convolution block: Section 4.6, Figure 4a.

    Convolutions over (t, x, y) with norm and ReLU on the matching grid, then a 1x1x1
    convolution with norm to C channels. The paper says "several"; these four, of
    1x3x3, 3x3x3, 3x3x3 and 1x3x3, have the receptive field (5, 9, 9) of a SELFY block
    on that grid, and about the parameters of :class:`SELFYSBlock`. Around them the
    block is a SELFY block, and like one does not start as the identity by default.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Side of the grid over the side of the input. Default: 0.5.
        channels: Width of each of the four convolutions. Default: (32, 32, 32, 32).
        reduced_channels: Channels on the grid. Default: 128.
        fusion: Config of the fusion. Default: :class:`ResidualFusion` in the form of
            Eq. 9.
        zero_init_last_norm: Start the last norm's scale at zero, which needs another
            fusion. Default: False.
        norm_cfg: Config of the norms. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: Not four channels, or another unusable argument or combination.
    """

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        scale: float = 0.5,
        channels: Sequence[int] = (32, 32, 32, 32),
        reduced_channels: int = 128,
        fusion: Config | None = None,
        zero_init_last_norm: bool = False,
        norm_cfg: Config | None = None,
        init_cfg: Config | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            num_segments,
            scale,
            reduced_channels,
            fusion,
            norm_cfg,
            init_cfg,
        )
        channels = check_ints('channels', channels)
        if len(channels) != len(_KERNELS):
            raise ValueError(
                f'channels must have {len(_KERNELS)} entries, one per convolution, but '
                f'got {channels}'
            )
        norm_cfg = norm_3d(norm_cfg, (*channels, in_channels), self)
        layer_cfg = dict(conv_cfg=dict(type='Conv3d'), norm_cfg=norm_cfg)
        self.layers = Sequential(
            *(
                ConvModule(
                    before,
                    after,
                    kernel,
                    padding=tuple(n // 2 for n in kernel),
                    **layer_cfg,
                )
                for before, after, kernel in zip(
                    (reduced_channels, *channels[:-1]),
                    channels,
                    _KERNELS,
                    strict=True,
                )
            )
        )
        self.project = ConvModule(
            channels[-1], in_channels, 1, act_cfg=None, **layer_cfg
        )
        self.start_at_zero(zero_init_last_norm)

    @property
    def last_norm(self) -> nn.Module:
        """The norm of the 1x1x1 convolution."""
        return self.project.norm

    def on_grid(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Convolve over (t, x, y).

        Args:
            x: Reduced features, (N*T, C_r, h, w).
            num_segments: As for :meth:`forward`.

        Returns:
            (N*T, C, h, w).
        """
        if num_segments is None:
            num_segments = self.num_segments
        clips = x.unflatten(0, (-1, num_segments)).transpose(1, 2)
        out = self.project(self.layers(clips))
        return out.transpose(1, 2).flatten(0, 1)


@MODELS.register_module()
class SELFYSBlock(SELFYBlock):
    """SELFY-s block: Section 4.6, Figure 4b.

    A :class:`SELFYBlock` "by removing spatial convolution layers": of the integration
    only Eq. 9 is left.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Side of the matching grid over the side of the input. Default: 0.5.
        integration: Config of the integration. Default: :class:`ConvIntegration` with
            no 3x3 layers.
        kwargs: Other arguments of :class:`SELFYBlock`.

    Raises:
        ValueError: As :class:`SELFYBlock`.
    """

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        scale: float = 0.5,
        integration: Config | None = None,
        **kwargs: Any,
    ) -> None:
        integration = {
            'type': 'ConvIntegration',
            'channels': (),
            **check_config('integration', integration),
        }
        super().__init__(
            in_channels, num_segments, scale, integration=integration, **kwargs
        )
