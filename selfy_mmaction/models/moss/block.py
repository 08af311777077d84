# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The MOSS block: self-similarity of self-similarity (Eq. 2 to 5 of MOSS)."""

from collections.abc import Sequence
from functools import partial

from mmaction.registry import MODELS
from mmcv.cnn.bricks.scale import LayerScale
from mmengine.model import ModuleList, constant_init
from torch import Tensor, nn

from selfy_mmaction.models.layers.activation_checkpoint import run_with_checkpoint
from selfy_mmaction.models.layers.building import Module, build
from selfy_mmaction.models.selfy.restoration import UpsampleRestoration
from selfy_mmaction.ops import check_bool, check_int, check_ints, check_positive

from .encoder import Config

_MOST_ORDERS = 9  # MOSS gains nothing from more than three


@MODELS.register_module()
class HigherOrderSTSS(Module):
    r"""Sum of encoded self-similarities of several orders.

    With the similarity f and an encoder :math:`g_n` for each order n,

    .. math::
        M^{(1)} = g_1(f(V)), \quad M^{(n)} = g_n(f(M^{(n-1)})), \quad
        M = \sum_n M^{(n)}

    Args:
        in_channels: Channels C of the visual features.
        out_channels: Channels C' of the result. Default: None, ``in_channels``.
        num_segments: Frames per clip, T. Default: 8.
        orders: Orders to sum, from 1. Lower orders that are not listed are computed,
            but not added. Default: (1, 2), as in MOSS.
        scale: Side of the grid on which all orders are matched, relative to that of the
            input. Default: 1.
        offsets: Temporal offsets l, in frames. A single int is allowed. Default: -2 to
            2.
        window: Spatial window (U, V), odd. An int gives a square window.
            Default: (9, 9).
        hidden_channels: Channels of each order if they differ from C'; a linear layer
            then maps the sum to C'. Default: None, no such layer.
        layer_scale: Initial factor of each channel of the result, which is learned.
            Default: None, no factors.
        encoder: Config of each :class:`STSSEncoder`: widths, steps, norms. Default:
            None, that of MOSS.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import HigherOrderSTSS
        >>> motion = HigherOrderSTSS(64, orders=(1, 2, 3), scale=0.5, window=(5, 5))
        >>> motion(torch.randn(8, 64, 14, 14)).shape  # on the matching grid
        torch.Size([8, 64, 7, 7])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        num_segments: int = 8,
        orders: Sequence[int] = (1, 2),
        scale: float = 1,
        offsets: int | Sequence[int] = (-2, -1, 0, 1, 2),
        window: int | Sequence[int] = (9, 9),
        hidden_channels: int | None = None,
        layer_scale: float | None = None,
        encoder: Config | None = None,
        init_cfg: Config | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.num_segments = check_int('num_segments', num_segments)
        self.orders = check_ints('orders', orders)
        if len({*self.orders}) < len(self.orders) or max(self.orders) > _MOST_ORDERS:
            raise ValueError(
                f'orders must be different numbers from 1 to {_MOST_ORDERS}, such as '
                f'(1, 2), but got {orders!r}'
            )
        out_channels = in_channels if out_channels is None else out_channels
        width = out_channels
        if hidden_channels is not None:
            width = check_int('hidden_channels', hidden_channels)
        self.encoders = ModuleList(
            build(
                'encoder',
                encoder,
                'STSSEncoder',
                decided=dict(
                    in_channels=in_channels if order == 1 else width,
                    out_channels=width,
                    scale=scale if order == 1 else 1,
                ),
                num_segments=num_segments,
                offsets=offsets,
                window=window,
            )
            for order in range(1, max(self.orders) + 1)
        )
        self.projection = self.layer_scale = None
        if hidden_channels is not None:
            self.projection = nn.Linear(hidden_channels, out_channels)
        if layer_scale is not None:
            layer_scale = check_positive('layer_scale', layer_scale)
            self.layer_scale = LayerScale(out_channels, scale=layer_scale)

    @property
    def last_layers(self) -> list[nn.Linear]:
        """The linear layers before the sum with the visual features."""
        if self.projection is not None:
            return [self.projection]
        return [self.encoders[order - 1].projection for order in self.orders]

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Sum the encoded self-similarities.

        Args:
            x: Visual features V, (N*T, C, H, W).
            num_segments: Frames per clip, T. Default: None, that of the module.

        Returns:
            M, (N*T, C', h, w) with h = ceil(scale * H), w = ceil(scale * W).

        Raises:
            ValueError: If N*T is not a multiple of ``num_segments``.
        """
        if num_segments is None:
            num_segments = self.num_segments
        terms = []
        for order, encoder in enumerate(self.encoders, 1):
            x = encoder(x, num_segments)
            if order in self.orders:
                terms.append(x)
        out = sum(terms[1:], start=terms[0]).movedim(1, -1)
        if self.projection is not None:
            out = self.projection(out)
        if self.layer_scale is not None:
            out = self.layer_scale(out)
        return out.movedim(-1, 1)

    def extra_repr(self) -> str:
        """Return the options to print."""
        return f'orders={self.orders}'


@MODELS.register_module()
class MOSSBlock(Module):
    """Adds encoded self-similarities of several orders to the visual features.

    MOSS (arXiv 2604.20760), by the authors of SELFY. Supports any H and W. The clip
    length T is ``num_segments`` unless passed to :meth:`forward`.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        orders: Orders to sum, from 1; (1,) is the plain self-similarity. Default: (1,
            2), as in MOSS.
        scale: Side of the matching grid relative to that of the input; the sum is
            repeated to the size of the input. Default: 1.
        offsets: Temporal offsets l, in frames. A single int is allowed. Default: -2 to
            2.
        window: Spatial window (U, V), odd. An int gives a square window.
            Default: (9, 9).
        hidden_channels: See :class:`HigherOrderSTSS`. Default: None.
        layer_scale: See :class:`HigherOrderSTSS`. Default: None.
        encoder: Config of each :class:`STSSEncoder`. Default: None, that of MOSS.
        fusion: Config of the fusion. Default: :class:`ResidualFusion` without ReLU.
        zero_init_residual: Whether to start as the identity, with weights of zero in
            the last linear layers. MOSS does not. Default: False.
        with_cp: Whether to recompute the block in the backward pass instead of keeping
            its features (activation checkpointing). Default: False.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> import torch
        >>> from mmaction.registry import MODELS
        >>> import selfy_mmaction  # registers the modules
        >>> block = MODELS.build(dict(type='MOSSBlock', in_channels=192, orders=(1, 2)))
        >>> block(torch.randn(8, 192, 14, 14)).shape
        torch.Size([8, 192, 14, 14])
    """

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        orders: Sequence[int] = (1, 2),
        scale: float = 1,
        offsets: int | Sequence[int] = (-2, -1, 0, 1, 2),
        window: int | Sequence[int] = (9, 9),
        hidden_channels: int | None = None,
        layer_scale: float | None = None,
        encoder: Config | None = None,
        fusion: Config | None = None,
        zero_init_residual: bool = False,
        with_cp: bool = False,
        init_cfg: Config | list[Config] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.with_cp = check_bool('with_cp', with_cp)
        self.zero_init_residual = check_bool('zero_init_residual', zero_init_residual)
        self.stss = HigherOrderSTSS(
            check_int('in_channels', in_channels),
            in_channels,
            num_segments,
            orders,
            scale,
            offsets,
            window,
            hidden_channels,
            layer_scale,
            encoder,
        )
        self.restoration = UpsampleRestoration()
        self.fusion = build('fusion', fusion, 'ResidualFusion', relu='none')
        self._zero_residual()

    def _zero_residual(self) -> None:
        if self.zero_init_residual:
            for layer in self.stss.last_layers:
                constant_init(layer, 0)

    def init_weights(self) -> None:
        """Initialize the weights, then zero the last linear layers if set."""
        super().init_weights()
        self._zero_residual()

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Add the self-similarities to the visual features.

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
        stss = self.stss(x, num_segments)
        return self.fusion(x, self.restoration(stss, x.shape[-2:]))
