# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Integration of the STSS features (Section 3.2.2)."""

from collections.abc import Sequence
from typing import Any

from mmaction.registry import MODELS
from mmcv.cnn import ConvModule
from mmengine.model import Sequential
from torch import Tensor, nn

from selfy_mmaction.models.layers.building import Module
from selfy_mmaction.models.layers.norms import norm_2d
from selfy_mmaction.ops import check_int, check_ints


@MODELS.register_module()
class ConvIntegration(Module):
    """Convolutions over (t, x, y) per temporal offset, then over all, Eq. 7 to 9.

    1x3x3 kernels with norm and ReLU, shared by all offsets (Eq. 7 and 8), then a 1x1x1
    convolution with norm from L * C_F channels to C (Eq. 9). The ReLU of Eq. 9 is part
    of the fusion.

    Args:
        in_channels: C_F, the width of the STSS features.
        out_channels: C, the width of the visual features.
        num_offsets: L, the number of temporal offsets.
        channels: Width of each 3x3 layer. Default: (64, 64, 64, 64), as in the
            official code.
        norm_cfg: Config of the norm. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If a width, ``num_offsets`` or ``norm_cfg`` is invalid.

    Attributes:
        out_channels: Width of the output.
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
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_int('out_channels', out_channels)
        check_int('num_offsets', num_offsets)
        channels = check_ints('channels', channels, at_least_one=False)
        widths = (check_int('in_channels', in_channels), *channels)
        norm_cfg = norm_2d(norm_cfg, (*channels, out_channels), self)
        self.out_channels = out_channels
        self.layers = Sequential(
            *(
                ConvModule(
                    before,
                    after,
                    kernel_size=self._kernel_size,
                    padding=self._kernel_size // 2,
                    norm_cfg=norm_cfg,
                )
                for before, after in zip(widths[:-1], widths[1:], strict=True)
            )
        )
        self.project = ConvModule(
            num_offsets * widths[-1],
            out_channels,
            norm_cfg=norm_cfg,
            **self._project,
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
        x = feats.flatten(2, 3).flatten(0, 1)  # (N*T, h*w, L, C_F)
        x = x.permute(0, 2, 3, 1).reshape(-1, channels, height, width)
        x = self.layers(x)  # (N*T*L, C_F, h, w)
        x = x.unflatten(0, (-1, num_offsets)).flatten(1, 2)  # (N*T, L*C_F, h, w)
        return self.project(x)


@MODELS.register_module()
class MLPIntegration(ConvIntegration):
    """Perceptrons per temporal offset, then Eq. 9: "MLP" in Table 4b.

    Uses 1x1x1 instead of 1x3x3 kernels; otherwise the same as
    :class:`ConvIntegration`, including the arguments.
    """

    _kernel_size = 1


@MODELS.register_module()
class FCIntegration(ConvIntegration):
    """Only Eq. 9, one fully-connected layer over (L, C_F): "FC" in Table 4b.

    Args:
        in_channels: C_F, the width of the STSS features.
        out_channels: C, the width of the visual features.
        num_offsets: L, the number of temporal offsets.
        norm_cfg: Config of the norm. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_offsets: int,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, num_offsets, (), norm_cfg, init_cfg)


@MODELS.register_module()
class ReleasedIntegration(ConvIntegration):
    """Integration of the official code, which does not expand to C channels.

    1x3x3 kernels with norm and ReLU. All but the last are shared by the offsets; the
    last covers all offsets, from L * 64 channels to 64.
    :class:`TransposedConvRestoration` expands the result to C.

    Args:
        in_channels: C_F, the width of the STSS features.
        out_channels: C, the width of the visual features. Only checked.
        num_offsets: L, the number of temporal offsets.
        channels: Width of each 3x3 layer. Default: (64, 64, 64, 64).
        norm_cfg: Config of the norm. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If ``channels`` is empty or an argument is invalid.

    Attributes:
        out_channels: Last entry of ``channels``.
        last_norm: None; the last norm of the block is in the restoration.
    """

    _project = dict(kernel_size=3, padding=1)
    last_norm = None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_offsets: int,
        channels: Sequence[int] = (64, 64, 64, 64),
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        check_int('out_channels', out_channels)
        *shared, over_offsets = check_ints('channels', channels)
        super().__init__(
            in_channels, over_offsets, num_offsets, shared, norm_cfg, init_cfg
        )
