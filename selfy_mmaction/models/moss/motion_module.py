# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The motion module of RLDX-1."""

from collections.abc import Sequence

from mmaction.registry import MODELS

from selfy_mmaction.models.layers.building import check_config, completed
from selfy_mmaction.ops import check_choice, check_int

from .block import MOSSBlock
from .encoder import Config

# As RLDX-1's host initializes the module.
_INIT: list[Config] = [
    dict(type='TruncNormal', layer='Linear', std=0.02),
    dict(type='Kaiming', layer='Conv2d'),
]


@MODELS.register_module()
class MotionModule(MOSSBlock):
    """Motion module of RLDX-1's vision encoder: :class:`MOSSBlock` in another form.

    End frames instead of zeros beyond the clip, and a linear layer after the sum of the
    orders, or LayerScale.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        orders: Orders to sum, from 1. Default: (1,).
        scale: Side of the matching grid relative to that of the input. Default: 1.
        offsets: Temporal offsets l, in frames. A single int is allowed. Default: -2 to
            2.
        window: Spatial window (U, V), odd. An int gives a square window.
            Default: (9, 9).
        similarity: 'cosine', 'scaled_dot' or 'softmax', see
            :class:`STSSTransformation`. Default: 'cosine'.
        integration: Form of the integration. Default: 'lite'.

            - 'lite': :class:`LiteIntegration` with 512 channels.
            - 'full': :class:`ReleasedIntegration` with 256, 256 and 512 channels.
        hidden_channels: Channels after the reduction, and of each order without
            ``layer_scale``. Default: 512.
        layer_scale: Initial factor of each channel of the sum, 1e-5 in RLDX-1; takes
            the place of the linear layer after the sum. Default: None.
        norm_cfg: Config of the norms in extraction and integration; RLDX-1 also has
            ``dict(type='GN', num_groups=1)``. Default: ``dict(type='BN')``.
        encoder: More of the config of each :class:`STSSEncoder`. Default: None.
        fusion: Config of the fusion. Default: :class:`ResidualFusion` without ReLU.
        zero_init_residual: Whether to start as the identity, as in OpenTau.
            Default: False.
        with_cp: Whether to recompute the block in the backward pass instead of keeping
            its features (activation checkpointing). Default: False.
        init_cfg: Initialization config. Default: As in RLDX-1, a truncated normal
            distribution of 0.02 for linear layers, and Kaiming for convolutions.

    Raises:
        ValueError: If an argument is invalid, or ``encoder`` sets ``similarity`` or
            ``norm_cfg``, too.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import MotionModule
        >>> block = MotionModule(in_channels=192, hidden_channels=64, layer_scale=1e-5)
        >>> block(torch.randn(8, 192, 16, 16)).shape
        torch.Size([8, 192, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        orders: Sequence[int] = (1,),
        scale: float = 1,
        offsets: int | Sequence[int] = (-2, -1, 0, 1, 2),
        window: int | Sequence[int] = (9, 9),
        similarity: str = 'cosine',
        integration: str = 'lite',
        hidden_channels: int = 512,
        layer_scale: float | None = None,
        norm_cfg: Config | None = None,
        encoder: Config | None = None,
        fusion: Config | None = None,
        zero_init_residual: bool = False,
        with_cp: bool = False,
        init_cfg: Config | list[Config] | None = None,
    ) -> None:
        check_choice('integration', integration, ('lite', 'full'))
        check_int('hidden_channels', hidden_channels)
        encoder = check_config('encoder', encoder)
        transformation = check_config(
            'encoder.transformation', encoder.get('transformation')
        )
        for option, value, also in (
            ('similarity', similarity, transformation),
            ('norm_cfg', norm_cfg, encoder),
        ):
            if option in also:
                raise ValueError(
                    f'encoder has {option}={also[option]!r}, which would replace '
                    f"MotionModule's {option}={value!r}; set {option} only there"
                )
        steps: dict[str, Config] = dict(
            reduction=dict(type='LayerNormReduction', eps=1e-6),
            transformation=dict(
                type='STSSTransformation',
                similarity=similarity,
                clip_ends='replicate',
            ),
            extraction=dict(type='MLPExtraction', channels=(256,)),
            integration=dict(type='LiteIntegration', out_channels=512)
            if integration == 'lite'
            else dict(type='ReleasedIntegration', channels=(256, 256, 512)),
        )
        for step, default in steps.items():
            encoder[step] = completed(f'encoder.{step}', encoder.get(step), default)
        encoder = dict(reduced_channels=hidden_channels, norm_cfg=norm_cfg) | encoder
        super().__init__(
            in_channels,
            num_segments,
            orders,
            scale,
            offsets,
            window,
            None if layer_scale is not None else hidden_channels,
            layer_scale,
            encoder,
            fusion,
            zero_init_residual,
            with_cp,
            _INIT if init_cfg is None else init_cfg,
        )
