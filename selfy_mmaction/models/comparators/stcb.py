# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Basic blocks of the study of complementarity (Section 4.6, Figure 4)."""

from collections.abc import Sequence
from typing import Any

from mmaction.registry import MODELS
from mmengine.model import Sequential
from torch import Tensor, nn

from selfy_mmaction.models.layers.building import check_config
from selfy_mmaction.models.layers.convolution import FoldingConvModule
from selfy_mmaction.models.layers.norms import norm_3d
from selfy_mmaction.models.selfy.block import SELFYBlock
from selfy_mmaction.ops import check_ints

from .grid_block import Config, GridBlock


@MODELS.register_module()
class STCB(GridBlock):
    """Spatio-temporal convolution block: Section 4.6, Figure 4a.

    Convolutions over (t, x, y) with norm and ReLU on the matching grid, then a 1x1x1
    convolution with norm to C channels. The paper says "several"; these have the
    receptive field (5, 9, 9) of a SELFY block on that grid, and about the parameters
    of :class:`SELFYSBlock`. Around them the block is a SELFY block, and like one does
    not start as the identity by default.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Side of the grid over the side of the input. Default: 0.5.
        channels: Width of each convolution. Default: (32, 32, 32, 32).
        kernel_sizes: Kernel (t, x, y) of each, odd. Default: 1x3x3, 3x3x3, 3x3x3,
            1x3x3.
        reduced_channels: Channels on the grid. Default: 128.
        fusion: Config of the fusion. Default: :class:`ResidualFusion` in the form of
            Eq. 9.
        zero_init_last_norm: Start the last norm's scale at zero, which needs another
            fusion. Default: False.
        norm_cfg: Config of the norms. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: channels and kernel_sizes differ in number or are none, a kernel
            that is not three odd numbers, another unusable argument or combination.
    """

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        scale: float = 0.5,
        channels: Sequence[int] = (32, 32, 32, 32),
        kernel_sizes: Sequence[Sequence[int]] = (
            (1, 3, 3),
            (3, 3, 3),
            (3, 3, 3),
            (1, 3, 3),
        ),
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
        kernel_sizes = _check_kernel_sizes(kernel_sizes)
        if len(channels) != len(kernel_sizes):
            raise ValueError(
                'channels and kernel_sizes must have one entry per layer, but got '
                f'channels={channels} and kernel_sizes={kernel_sizes}'
            )
        norm_cfg = norm_3d(norm_cfg, (*channels, in_channels), self)
        layer_cfg = dict(conv_cfg=dict(type='Conv3d'), norm_cfg=norm_cfg)
        self.layers = Sequential(
            *(
                FoldingConvModule(
                    before,
                    after,
                    kernel,
                    padding=tuple(n // 2 for n in kernel),
                    **layer_cfg,
                )
                for before, after, kernel in zip(
                    (reduced_channels, *channels[:-1]),
                    channels,
                    kernel_sizes,
                    strict=True,
                )
            )
        )
        self.project = FoldingConvModule(
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


def _check_kernel_sizes(kernel_sizes: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    try:
        kernels = [check_ints('kernel_sizes', kernel) for kernel in kernel_sizes]
    except (TypeError, ValueError):
        kernels = [()]
    if any(len(kernel) != 3 or any(n % 2 == 0 for n in kernel) for kernel in kernels):
        raise ValueError(
            'kernel_sizes must be (t, x, y), three positive odd numbers, per layer, '
            f'such as [(1, 3, 3), (3, 3, 3)], but got {kernel_sizes!r}'
        )
    return kernels


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
