# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The SELFY block (Section 3.2, Figure 2)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from mmaction.registry import MODELS
from torch import Tensor, nn

from selfy_mmaction.models.layers.activation_checkpoint import run_with_checkpoint
from selfy_mmaction.models.layers.building import build
from selfy_mmaction.models.layers.zero_init import ZeroInitBlock
from selfy_mmaction.ops import check_bool, check_int

Config = dict[str, Any]


@MODELS.register_module()
class SELFYBlock(ZeroInitBlock):
    """Learns generalized motion from spatio-temporal self-similarity.

    Reduction -> STSS transformation -> extraction -> integration -> restoration ->
    fusion. Each step is a registered module that a config can replace or change; see
    the ``forward`` of each step for its shapes.

    Supports any H and W. The clip length T is ``num_segments`` unless passed to
    :meth:`forward`.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Side of the matching grid relative to that of the input. Default: 0.5,
            which is 14x14 after res3 with 224x224 input.
        offsets: Temporal offsets l, in frames. A single int is allowed. Default: -2 to
            2, as in the paper for 8 frames (-4 to 4 for 16).
        window: Spatial window (U, V), odd. An int gives a square window.
            Default: (9, 9).
        reduced_channels: Channels after the reduction. Default: 128.
        reduction: Config of the reduction. Its ``in_channels`` may differ if another
            module runs the steps, such as :class:`SELFYNeck`, which matches features of
            another level. Default: :class:`ConvReduction`.
        transformation: Config of the transformation.
            Default: :class:`STSSTransformation`.
        extraction: Config of the extraction. Default: :class:`ConvExtraction`.
        integration: Config of the integration. Default: :class:`ConvIntegration`.
        restoration: Config of the restoration, which maps the ``out_channels`` of the
            integration to C. Default: :class:`UpsampleRestoration`.
        fusion: Config of the fusion. Default: :class:`ResidualFusion` as in Eq. 9.
        zero_init_last_norm: Whether to initialize the scale of :attr:`last_norm` to
            zero, as in the official code, so that training starts from the plain
            backbone. Incompatible with the ReLU of Eq. 9, whose gradient at zero is
            zero. Default: False.
        with_cp: Whether to recompute the block in the backward pass instead of keeping
            its features (activation checkpointing). Saves memory at the cost of an
            extra forward pass. Default: False.
        norm_cfg: Config of the norms. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If an argument is invalid, arguments are incompatible, or steps do
            not fit together.

    Example:
        >>> import torch
        >>> from mmaction.registry import MODELS
        >>> import selfy_mmaction  # registers the modules
        >>> block = MODELS.build(dict(type='SELFYBlock', in_channels=64))
        >>> features = torch.randn(2 * 8, 64, 14, 14)
        >>> block(features).shape
        torch.Size([16, 64, 14, 14])
        >>> block(features, num_segments=16).shape  # one clip of 16 frames
        torch.Size([16, 64, 14, 14])
    """

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        scale: float = 0.5,
        offsets: int | Sequence[int] = (-2, -1, 0, 1, 2),
        window: int | Sequence[int] = (9, 9),
        reduced_channels: int = 128,
        reduction: Config | None = None,
        transformation: Config | None = None,
        extraction: Config | None = None,
        integration: Config | None = None,
        restoration: Config | None = None,
        fusion: Config | None = None,
        zero_init_last_norm: bool = False,
        with_cp: bool = False,
        norm_cfg: Config | None = None,
        init_cfg: Config | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.with_cp = check_bool('with_cp', with_cp)
        check_int('in_channels', in_channels)
        check_int('reduced_channels', reduced_channels)
        self.reduction = build(
            'reduction',
            reduction,
            'ConvReduction',
            decided=dict(out_channels=reduced_channels),
            in_channels=in_channels,
            scale=scale,
            norm_cfg=norm_cfg,
        )
        self.transformation = build(
            'transformation',
            transformation,
            'STSSTransformation',
            decided=dict(in_channels=reduced_channels),
            attributes=('offsets',),
            num_segments=num_segments,
            offsets=offsets,
            window=window,
        )
        self.extraction = build(
            'extraction',
            extraction,
            'ConvExtraction',
            decided=dict(window=getattr(self.transformation, 'window', window)),
            attributes=('out_channels',),
            norm_cfg=norm_cfg,
        )
        self.integration = build(
            'integration',
            integration,
            'ConvIntegration',
            decided=dict(
                in_channels=self.extraction.out_channels,
                num_offsets=len(self.transformation.offsets),
            ),
            attributes=('out_channels',),
            out_channels=in_channels,
            norm_cfg=norm_cfg,
        )
        self.restoration = build(
            'restoration',
            restoration,
            'UpsampleRestoration',
            decided=dict(
                in_channels=self.integration.out_channels,
                out_channels=in_channels,
                scale=getattr(self.reduction, 'scale', scale),
            ),
            norm_cfg=norm_cfg,
        )
        self.fusion = build('fusion', fusion, 'ResidualFusion')
        self.start_at_zero(zero_init_last_norm)

    @property
    def last_norm(self) -> nn.Module | None:
        """The norm before the fusion: that of the restoration or the integration."""
        steps = (self.restoration, self.integration)
        norms = (getattr(step, 'last_norm', None) for step in steps)
        return next((norm for norm in norms if norm is not None), None)

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Add the STSS representation to the visual features.

        Args:
            x: Visual features V, (N*T, C, H, W).
            num_segments: Frames per clip, T. Default: None, the block's
                ``num_segments``.

        Returns:
            (N*T, C, H, W).

        Raises:
            ValueError: If N*T is not a multiple of ``num_segments``.
        """
        forward = partial(self._forward, num_segments=num_segments)
        if self.with_cp:
            return run_with_checkpoint(self, forward, x)
        return forward(x)

    def _forward(self, x: Tensor, num_segments: int | None) -> Tensor:
        reduced = self.reduction(x)
        stss = self.transformation(reduced, num_segments)  # (N, T, h, w, L, U, V)
        feats = self.extraction(stss)  # (N, T, h, w, L, C_F)
        out = self.integration(feats)  # (N*T, C, h, w)
        return self.fusion(x, self.restoration(out, x.shape[-2:]))
