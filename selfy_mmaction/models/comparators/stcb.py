# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Basic blocks of the complementarity study (Section 4.6, Figure 4)."""

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

# (t, x, y). Together they have the receptive field of a SELFY block, (5, 9, 9).
_KERNELS = ((1, 3, 3), (3, 3, 3), (3, 3, 3), (1, 3, 3))


@MODELS.register_module()
class STCB(GridBlock):
    """Spatio-temporal convolution block: Section 4.6, Figure 4a.

    Convolutions over (t, x, y) with norm and ReLU on the matching grid, then a 1x1x1
    convolution with norm to C channels. The paper says "several"; these four, with
    1x3x3, 3x3x3, 3x3x3 and 1x3x3 kernels, have the receptive field of a SELFY block on
    that grid, (5, 9, 9), and about as many parameters as :class:`SELFYSBlock`. The
    other steps are those of a SELFY block. Like it, STCB does not start as the identity
    by default.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Side of the grid relative to that of the input. Default: 0.5.
        channels: Width of each of the four convolutions. Default: (32, 32, 32, 32).
        reduced_channels: Channels on the grid. Default: 128.
        fusion: Config of the fusion. Default: :class:`ResidualFusion` as in Eq. 9.
        zero_init_last_norm: Whether to initialize the scale of the last norm to zero,
            which needs a fusion other than Eq. 9. Default: False.
        norm_cfg: Config of the norms. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If ``channels`` does not have four entries, an argument is invalid,
            or arguments are incompatible.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import STCB
        >>> block = STCB(in_channels=64, reduced_channels=32, channels=(8, 8, 8, 8))
        >>> block(torch.randn(8, 64, 14, 14)).shape
        torch.Size([8, 64, 14, 14])
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
            num_segments: See :meth:`forward`.

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

    A :class:`SELFYBlock` without the "spatial convolution layers": the integration
    consists only of Eq. 9.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Side of the matching grid relative to that of the input. Default: 0.5.
        integration: Config of the integration. Default: :class:`ConvIntegration`
            without 3x3 layers.
        kwargs: Other arguments of :class:`SELFYBlock`.

    Raises:
        ValueError: If an argument is invalid; see :class:`SELFYBlock`.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import SELFYSBlock
        >>> block = SELFYSBlock(in_channels=64, window=(5, 5))
        >>> block(torch.randn(8, 64, 14, 14)).shape
        torch.Size([8, 64, 14, 14])
        >>> len(block.integration.layers)  # no spatial convolutions
        0
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
