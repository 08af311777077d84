# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Encoder of the self-similarity: one order of MOSS (Eq. 4 and 5 of MOSS)."""

from collections.abc import Sequence
from typing import Any

from mmaction.registry import MODELS
from torch import Tensor, nn

from selfy_mmaction.models.layers.building import Module, build, completed
from selfy_mmaction.ops import check_int

Config = dict[str, Any]


@MODELS.register_module()
class STSSEncoder(Module):
    """Turns features into features of their self-similarity, without a sum.

    Reduction -> STSS transformation -> extraction -> integration -> projection. The
    steps are those of :class:`SELFYBlock` with other defaults: layer norm and a linear
    layer, one layer over the flattened window, three 3x3 convolutions of which the last
    covers all temporal offsets, and a linear layer; GELU throughout.

    Args:
        in_channels: Channels C of the features.
        out_channels: Channels C' of the result. Default: None, ``in_channels``.
        num_segments: Frames per clip, T. Default: 8.
        scale: Side of the matching grid relative to that of the input. Default: 1.
        offsets: Temporal offsets l, in frames. A single int is allowed. Default: -2 to
            2.
        window: Spatial window (U, V), odd. An int gives a square window.
            Default: (9, 9).
        reduced_channels: Channels after the reduction. Default: 128.
        reduction: Config of the reduction. Default: :class:`LayerNormReduction`.
        transformation: Config of the transformation.
            Default: :class:`STSSTransformation`.
        extraction: Config of the extraction. Default: :class:`MLPExtraction` with one
            layer of 64 channels.
        integration: Config of the integration. Default: :class:`ReleasedIntegration`
            with layers of 64, 64 and 128 channels; :class:`LiteIntegration` is the
            "lite" form of RLDX-1.
        norm_cfg: Config of the norms of extraction and integration. Their statistics
            are taken over whole clips, each temporal offset alone, if they are taken
            per sample, such as those of GN. Default: ``dict(type='BN')``.
        act_cfg: Config of the activations. Default: ``dict(type='GELU')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If an argument is invalid or steps do not fit together.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import STSSEncoder
        >>> encoder = STSSEncoder(
        ...     in_channels=64,
        ...     out_channels=32,
        ...     num_segments=4,
        ...     transformation=dict(type='STSSTransformation', similarity='softmax'),
        ... )
        >>> encoder(torch.randn(4, 64, 7, 7)).shape
        torch.Size([4, 32, 7, 7])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        num_segments: int = 8,
        scale: float = 1,
        offsets: int | Sequence[int] = (-2, -1, 0, 1, 2),
        window: int | Sequence[int] = (9, 9),
        reduced_channels: int = 128,
        reduction: Config | None = None,
        transformation: Config | None = None,
        extraction: Config | None = None,
        integration: Config | None = None,
        norm_cfg: Config | None = None,
        act_cfg: Config | None = None,
        init_cfg: Config | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_int('in_channels', in_channels)
        if out_channels is None:
            out_channels = in_channels
        check_int('out_channels', out_channels)
        check_int('reduced_channels', reduced_channels)
        if act_cfg is None:
            act_cfg = dict(type='GELU')
        layers: Config = dict(norm_scope='clip', norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.reduction = build(
            'reduction',
            reduction,
            'LayerNormReduction',
            decided=dict(in_channels=in_channels, out_channels=reduced_channels),
            scale=scale,
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
            completed(
                'extraction', extraction, dict(type='MLPExtraction', channels=(64,))
            ),
            decided=dict(window=getattr(self.transformation, 'window', window)),
            attributes=('out_channels',),
            **layers,
        )
        self.integration = build(
            'integration',
            completed(
                'integration',
                integration,
                dict(type='ReleasedIntegration', channels=(64, 64, 128)),
            ),
            decided=dict(
                in_channels=self.extraction.out_channels,
                num_offsets=len(self.transformation.offsets),
            ),
            attributes=('out_channels',),
            out_channels=out_channels,
            **layers,
        )
        self.projection = nn.Linear(self.integration.out_channels, out_channels)

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Encode the self-similarity of features.

        Args:
            x: Features, (N*T, C, H, W).
            num_segments: Frames per clip, T. Default: None, the encoder's
                ``num_segments``.

        Returns:
            (N*T, C', h, w) with h = ceil(scale * H), w = ceil(scale * W).

        Raises:
            ValueError: If N*T is not a multiple of ``num_segments``.
        """
        reduced = self.reduction(x)
        stss = self.transformation(reduced, num_segments)  # (N, T, h, w, L, U, V)
        feats = self.extraction(stss)  # (N, T, h, w, L, C_F)
        out = self.integration(feats)  # (N*T, C_I, h, w)
        return self.projection(out.movedim(1, -1)).movedim(-1, 1)
