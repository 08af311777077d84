# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Integration of the STSS features (Section 3.2.2)."""

from collections.abc import Sequence
from typing import Any

from mmaction.registry import MODELS
from mmcv.cnn import ConvModule
from mmengine.model import Sequential
from torch import Tensor, nn

from selfy_mmaction.models.layers.activations import activation
from selfy_mmaction.models.layers.building import Module
from selfy_mmaction.models.layers.frame_conv import FrameConv2d
from selfy_mmaction.models.layers.norms import norm_2d, norm_3d
from selfy_mmaction.ops import check_choice, check_int, check_ints


@MODELS.register_module()
class ConvIntegration(Module):
    """Convolutions over (t, x, y) per temporal offset, then over all, Eq. 7 to 9.

    1x3x3 kernels with norm and activation, shared by all offsets (Eq. 7 and 8), then a
    1x1x1 convolution with norm from L * C_F channels to C (Eq. 9). The ReLU of Eq. 9 is
    part of the fusion.

    Args:
        in_channels: C_F, the width of the STSS features.
        out_channels: C, the width of the visual features.
        num_offsets: L, the number of temporal offsets.
        channels: Width of each 3x3 layer. Default: (64, 64, 64, 64), as in the
            official code.
        norm_scope: 'frame' or 'clip': what a norm with statistics per sample, such as
            GN, takes them over: one frame or all frames of the clip, each temporal
            offset alone. Default: 'frame'.
        norm_cfg: Config of the norm. Default: ``dict(type='BN')``.
        act_cfg: Config of the activation. Default: ``dict(type='ReLU')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If an argument is invalid.

    Attributes:
        out_channels: Width of the output.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import ConvIntegration
        >>> integration = ConvIntegration(32, out_channels=128, num_offsets=3)
        >>> integration(torch.randn(2, 4, 7, 7, 3, 32)).shape  # (N*T, C, h, w)
        torch.Size([8, 128, 7, 7])
        >>> len(integration.layers)  # of 3x3
        4
    """

    # Overridden by the other forms of the step.
    _kernel_size = 3
    _project: dict[str, Any] = dict(kernel_size=1, act_cfg=None)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_offsets: int,
        channels: Sequence[int] = (64, 64, 64, 64),
        norm_scope: str = 'frame',
        norm_cfg: dict[str, Any] | None = None,
        act_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_int('out_channels', out_channels)
        check_int('num_offsets', num_offsets)
        channels = check_ints('channels', channels, at_least_one=False)
        widths = (check_int('in_channels', in_channels), *channels)
        self.norm_scope = check_choice('norm_scope', norm_scope, ('frame', 'clip'))
        check_norm = norm_3d if norm_scope == 'clip' else norm_2d
        layer = dict(
            conv_cfg=dict(type=FrameConv2d) if norm_scope == 'clip' else None,
            norm_cfg=check_norm(norm_cfg, (*channels, out_channels), self),
            act_cfg=activation(act_cfg),
        )
        self.out_channels = out_channels
        self.layers = Sequential(
            *(
                ConvModule(
                    before,
                    after,
                    kernel_size=self._kernel_size,
                    padding=self._kernel_size // 2,
                    **layer,
                )
                for before, after in zip(widths[:-1], widths[1:], strict=True)
            )
        )
        self.project = ConvModule(
            num_offsets * widths[-1],
            out_channels,
            bias=False,
            **{**layer, **self._project},
        )

    @property
    def last_norm(self) -> nn.Module | None:
        """The norm of the 1x1x1 convolution, the last of the integration."""
        return self.project.norm

    def forward(self, feats: Tensor) -> Tensor:
        """Integrate features over neighboring positions and temporal offsets.

        Args:
            feats: STSS features F, (N, T, h, w, L, C_F).

        Returns:
            Input of the ReLU in Eq. 9, (N*T, C, h, w);
            :class:`ReleasedIntegration` returns ``self.out_channels`` channels.
        """
        height, width, num_offsets, channels = feats.shape[2:]
        # Fewer dimensions than (N, T, L, C_F, h, w), which some runtimes lack.
        if self.norm_scope == 'clip':
            return self._integrate_clips(feats)
        x = feats.flatten(2, 3).flatten(0, 1)  # (N*T, h*w, L, C_F)
        x = x.permute(0, 2, 3, 1).reshape(-1, channels, height, width)
        x = self.layers(x)  # (N*T*L, C_F, h, w)
        x = x.unflatten(0, (-1, num_offsets)).flatten(1, 2)  # (N*T, L*C_F, h, w)
        return self.project(x)

    def _integrate_clips(self, feats: Tensor) -> Tensor:
        clips, frames, height, width, num_offsets, channels = feats.shape
        x = feats.flatten(2, 3).permute(0, 3, 4, 1, 2)  # (N, L, C_F, T, h*w)
        x = x.reshape(-1, channels, frames, height, width)
        x = self.layers(x)  # (N*L, C_F, T, h, w)
        x = x.unflatten(0, (clips, num_offsets)).flatten(1, 2)
        return self.project(x).transpose(1, 2).flatten(0, 1)


@MODELS.register_module()
class MLPIntegration(ConvIntegration):
    """Perceptrons per temporal offset, then Eq. 9: "MLP" in Table 4b.

    Uses 1x1x1 instead of 1x3x3 kernels; otherwise the same as
    :class:`ConvIntegration`, including the arguments.

    Example:
        >>> from selfy_mmaction.models import MLPIntegration
        >>> integration = MLPIntegration(32, out_channels=128, num_offsets=3)
        >>> [layer.conv.kernel_size for layer in integration.layers]
        [(1, 1), (1, 1), (1, 1), (1, 1)]
    """

    _kernel_size = 1


@MODELS.register_module()
class FCIntegration(ConvIntegration):
    """Only Eq. 9, one fully-connected layer over (L, C_F): "FC" in Table 4b.

    Args:
        in_channels: C_F, the width of the STSS features.
        out_channels: C, the width of the visual features.
        num_offsets: L, the number of temporal offsets.
        norm_scope: See :class:`ConvIntegration`. Default: 'frame'.
        norm_cfg: Config of the norm. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import FCIntegration
        >>> integration = FCIntegration(32, out_channels=128, num_offsets=3)
        >>> integration(torch.randn(2, 4, 7, 7, 3, 32)).shape
        torch.Size([8, 128, 7, 7])
        >>> integration.project.conv.weight.shape  # over (L, C_F)
        torch.Size([128, 96, 1, 1])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_offsets: int,
        norm_scope: str = 'frame',
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            num_offsets,
            (),
            norm_scope,
            norm_cfg,
            init_cfg=init_cfg,
        )


@MODELS.register_module()
class LiteIntegration(ConvIntegration):
    """One 1x1x1 convolution over (L, C_F) and an activation, without a norm.

    The "lite" form of the :class:`MotionModule`, whose similarities alone relate
    positions.

    Args:
        in_channels: C_F, the width of the STSS features.
        out_channels: Width of the output.
        num_offsets: L, the number of temporal offsets.
        act_cfg: Config of the activation. Default: ``dict(type='ReLU')``.
        init_cfg: Initialization config. Default: None.

    Attributes:
        last_norm: None.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import LiteIntegration
        >>> integration = LiteIntegration(32, out_channels=128, num_offsets=3)
        >>> integration(torch.randn(2, 4, 7, 7, 3, 32)).shape
        torch.Size([8, 128, 7, 7])
        >>> integration.last_norm is None
        True
    """

    _project = dict(kernel_size=1, norm_cfg=None)
    last_norm = None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_offsets: int,
        act_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            num_offsets,
            (),
            act_cfg=act_cfg,
            init_cfg=init_cfg,
        )


@MODELS.register_module()
class ReleasedIntegration(ConvIntegration):
    """Integration of the official code, which does not expand to C channels.

    1x3x3 kernels with norm and activation. All but the last are shared by the offsets;
    the last covers all offsets, from L * 64 channels to 64.
    :class:`TransposedConvRestoration` expands the result to C.

    Args:
        in_channels: C_F, the width of the STSS features.
        out_channels: C, the width of the visual features. Only checked.
        num_offsets: L, the number of temporal offsets.
        channels: Width of each 3x3 layer. Default: (64, 64, 64, 64).
        norm_scope: See :class:`ConvIntegration`. Default: 'frame'.
        norm_cfg: Config of the norm. Default: ``dict(type='BN')``.
        act_cfg: Config of the activation. Default: ``dict(type='ReLU')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If ``channels`` is empty or an argument is invalid.

    Attributes:
        out_channels: Last entry of ``channels``.
        last_norm: None; the last norm of the block is in the restoration.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import ReleasedIntegration
        >>> integration = ReleasedIntegration(32, out_channels=128, num_offsets=3)
        >>> integration(torch.randn(2, 4, 7, 7, 3, 32)).shape  # not expanded to 128
        torch.Size([8, 64, 7, 7])
    """

    _project = dict(kernel_size=3, padding=1)
    last_norm = None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_offsets: int,
        channels: Sequence[int] = (64, 64, 64, 64),
        norm_scope: str = 'frame',
        norm_cfg: dict[str, Any] | None = None,
        act_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        check_int('out_channels', out_channels)
        *shared, over_offsets = check_ints('channels', channels)
        super().__init__(
            in_channels,
            over_offsets,
            num_offsets,
            shared,
            norm_scope,
            norm_cfg,
            act_cfg,
            init_cfg,
        )
