# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Motion module of MSNet: displacements between consecutive frames."""

from collections.abc import Sequence

from mmaction.registry import MODELS
from mmcv.cnn import DepthwiseSeparableConvModule
from mmengine.model import Sequential
from torch import Tensor

from selfy_mmaction.models.layers.building import Module
from selfy_mmaction.models.layers.norms import norm_2d
from selfy_mmaction.models.selfy.block import SELFYBlock
from selfy_mmaction.ops import check_int, check_ints

from .grid_block import Config


@MODELS.register_module()
class DepthwiseIntegration(Module):
    """Depthwise and 1x1 convolutions: the refinement of MSNet.

    Each stage is a depthwise convolution and a 1x1 convolution, both with norm and
    ReLU. The first kernel is 7x7, the others are 3x3.

    Args:
        in_channels: C_F, the width of the STSS features.
        out_channels: C, the width of the visual features, and of the last stage.
        num_offsets: L, the number of temporal offsets.
        channels: Width of the other stages. Default: (16, 32, 64), as in MSNet.
        norm_cfg: Config of the norms. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If a width, ``num_offsets`` or ``norm_cfg`` is invalid.

    Attributes:
        out_channels: Width of the output.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import DepthwiseIntegration
        >>> integration = DepthwiseIntegration(3, out_channels=64, num_offsets=1)
        >>> integration(torch.randn(2, 4, 14, 14, 1, 3)).shape
        torch.Size([8, 64, 14, 14])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_offsets: int,
        channels: Sequence[int] = (16, 32, 64),
        norm_cfg: Config | None = None,
        init_cfg: Config | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.out_channels = check_int('out_channels', out_channels)
        first = check_int('in_channels', in_channels)
        first *= check_int('num_offsets', num_offsets)
        widths = (first, *check_ints('channels', channels), out_channels)
        norm_cfg = norm_2d(norm_cfg, widths, self)
        self.layers = Sequential(
            *(
                DepthwiseSeparableConvModule(
                    before,
                    after,
                    kernel_size=3 if index else 7,
                    padding=1 if index else 3,
                    norm_cfg=norm_cfg,
                )
                for index, (before, after) in enumerate(
                    zip(widths[:-1], widths[1:], strict=True)
                )
            )
        )

    def forward(self, feats: Tensor) -> Tensor:
        """Refine the features of all temporal offsets at once.

        Args:
            feats: STSS features F, (N, T, h, w, L, C_F).

        Returns:
            (N*T, C, h, w), not negative.
        """
        maps = feats.flatten(-2).movedim(-1, 2)  # (N, T, L*C_F, h, w)
        return self.layers(maps.flatten(0, 1))


@MODELS.register_module()
class MotionSqueezeBlock(SELFYBlock):
    """Motion module of MSNet, the method of supplement Table 3f.

    Kwon et al., "MotionSqueeze: neural motion feature learning for video understanding"
    (ECCV 2020). Similarities of each frame to the next one, in a window of 15x15 on the
    grid of the features; the displacement of highest similarity and its confidence
    (:class:`KernelSoftArgmaxExtraction`); their refinement, which is added. The last
    frame, which has no next one, gets the similarities of the frame before.

    MSNet orders the columns of the displacement before the rows. It does not start as
    the identity.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        window: Spatial window (U, V), odd. An int gives a square window.
            Default: (15, 15), for 28x28 positions.
        reduced_channels: Channels after the reduction, a 1x1 convolution. Default: 64.
        channels: Width of the stages of :class:`DepthwiseIntegration`, without the
            last. Default: (16, 32, 64).
        with_cp: Whether to recompute the block in the backward pass instead of keeping
            its features (activation checkpointing). Default: False.
        norm_cfg: Config of the norms. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import MotionSqueezeBlock
        >>> block = MotionSqueezeBlock(in_channels=64, num_segments=4, window=(7, 7))
        >>> block(torch.randn(4, 64, 14, 14)).shape
        torch.Size([4, 64, 14, 14])
        >>> block.transformation.offsets  # of each frame to the next one
        (1,)
    """

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        window: int | Sequence[int] = (15, 15),
        reduced_channels: int = 64,
        channels: Sequence[int] = (16, 32, 64),
        with_cp: bool = False,
        norm_cfg: Config | None = None,
        init_cfg: Config | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            num_segments,
            scale=1,
            offsets=(1,),
            window=window,
            reduced_channels=reduced_channels,
            reduction=dict(kernel_size=1),
            transformation=dict(clip_ends='repeat'),
            extraction=dict(type='KernelSoftArgmaxExtraction'),
            integration=dict(type='DepthwiseIntegration', channels=channels),
            fusion=dict(relu='none'),
            with_cp=with_cp,
            norm_cfg=norm_cfg,
            init_cfg=init_cfg,
        )
