# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Self-attention blocks that SELFY is compared with (Section 4.5, supplement C).

They stand where a SELFY block does: `selfy=dict(after='res3', block=dict(type=...))`.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmcv.cnn import ConvModule, NonLocal3d, build_norm_layer
from torch import Tensor, nn

from selfy_mmaction.ops import (
    check_bool,
    check_choice,
    check_int,
    check_ints,
    check_num_segments,
)

from .building import Module, build
from .grid_block import Config, GridBlock
from .norms import norm_2d, norm_3d
from .reduction import SCALES
from .zero_init import ZeroInitBlock


@MODELS.register_module()
class LocalSelfAttentionBlock(GridBlock):
    r"""Local self-attention in space and time: Table 5, "LSA"; Table 3e, first row.

    Ramachandran et al., "Stand-alone self-attention in vision models" (NeurIPS 2019),
    extended to time, on SELFY's matching grid:

    .. math::
        y_p = \sum_{r \in (L, U, V)} \mathrm{softmax}_r \left( q_p^\top
        (k_{p+r} + e_l + e_u + e_v) / \sqrt{d} \right) v_{p+r}

    over those r = (l, u, v) with p + r inside the clip and the frame, for each head of
    d channels. The integration leads y to C channels. Two choices differ from the
    source, which concatenates its embeddings, half the channels each, and does not
    divide by :math:`\sqrt{d}`.

    As in a SELFY block by default, the block does not start as the identity.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Side of the grid over the side of the input. Default: 0.5.
        window: Neighbourhood (L, U, V), odd. Default: (5, 9, 9), as in Table 5.
        reduced_channels: Channels of queries, keys and values together. Table 3e has
            32. Default: 128, as in SELFY.
        num_heads: Heads. Default: 8, as in the source.
        integration: Config of the integration, which sees one temporal offset. Table
            3e's "followed by feature integration layers" is
            ``dict(channels=(64, 64, 64, 64))``. Default: :class:`ConvIntegration` with
            no 3x3 layers.
        fusion: Config of the fusion. Default: :class:`ResidualFusion` in the form of
            Eq. 9.
        zero_init_last_norm: Start the last norm's scale at zero, which needs another
            fusion. Default: False.
        norm_cfg: Config of the norms. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: An unusable argument or combination; heads that do not divide
            the channels.
    """

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        scale: float = 0.5,
        window: Sequence[int] = (5, 9, 9),
        reduced_channels: int = 128,
        num_heads: int = 8,
        integration: Config | None = None,
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
        self.window = check_ints('window', window)
        if len(self.window) != 3 or any(side % 2 == 0 for side in self.window):
            raise ValueError(
                'window must be (L, U, V), three positive odd numbers such as '
                f'(5, 9, 9), but got {self.window}'
            )
        _check_heads('reduced_channels', reduced_channels, num_heads)
        self.num_heads = num_heads
        width = reduced_channels
        self.query = nn.Conv2d(width, width, 1, bias=False)
        self.key = nn.Conv2d(width, width, 1, bias=False)
        self.value = nn.Conv2d(width, width, 1, bias=False)
        # e_l, e_u and e_v of each head, whose products with the queries are all that
        # is needed of them. The weight of a convolution: mmaction2's optimizer
        # constructor for TSM passes over bare parameters.
        self.position = nn.Conv2d(
            width, num_heads * sum(self.window), 1, groups=num_heads, bias=False
        )
        self.integration = build(
            'integration',
            integration,
            'ConvIntegration',
            decided=dict(in_channels=width, out_channels=in_channels, num_offsets=1),
            channels=(),
            norm_cfg=norm_cfg,
        )
        self.start_at_zero(zero_init_last_norm)

    @property
    def last_norm(self) -> nn.Module:
        """The integration's last norm."""
        return self.integration.last_norm

    def on_grid(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Attend and integrate.

        Args:
            x: Reduced features, (N*T, C_r, h, w).
            num_segments: As for :meth:`forward`.

        Returns:
            (N*T, C, h, w).
        """
        return self.integration(self.attend(x, num_segments).unsqueeze(4))

    def attend(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Sum the values of each position's neighbours.

        Args:
            x: Reduced features, (N*T, C_r, h, w).
            num_segments: As for :meth:`forward`.

        Returns:
            (N, T, h, w, C_r).
        """
        if num_segments is None:
            num_segments = self.num_segments
        # A row of queries attends to the L*U rows of its window at once: V times
        # fewer copies of keys and values than a window for each query, for w/V times
        # the products.
        query = self.query(x) * (x.size(1) // self.num_heads) ** -0.5
        bias = self._position_bias(self._by_row(self.position(query), num_segments))
        out = F.scaled_dot_product_attention(
            self._by_row(query, num_segments).flatten(0, 2),
            self._rows_of_window(self.key(x), num_segments).flatten(0, 2),
            self._rows_of_window(self.value(x), num_segments).flatten(0, 2),
            attn_mask=bias.flatten(0, 2),
            scale=1,
        )  # (N*T*h, heads, w, d)
        out = out.unflatten(0, (-1, num_segments, x.size(2)))
        return out.transpose(3, 4).flatten(4)

    def _by_row(self, x: Tensor, num_segments: int) -> Tensor:
        """(N*T, heads*d, h, w) to (N, T, h, heads, w, d)."""
        x = x.unflatten(1, (self.num_heads, -1))
        return x.unflatten(0, (-1, num_segments)).permute(0, 1, 4, 2, 5, 3)

    def _rows_of_window(self, x: Tensor, num_segments: int) -> Tensor:
        """(N*T, heads*d, h, w) to (N, T, h, heads, L*U*w, d); zeros outside."""
        frames, rows, _ = self.window
        t, y = frames // 2, rows // 2
        x = F.pad(self._by_row(x, num_segments), (0, 0, 0, 0, 0, 0, y, y, t, t))
        x = x.unfold(1, frames, 1).unfold(2, rows, 1)  # (N, T, h, heads, w, d, L, U)
        return x.permute(0, 1, 2, 3, 6, 7, 4, 5).flatten(4, 6)

    def _position_bias(self, logits: Tensor) -> Tensor:
        """Products with the embeddings, by key; -inf outside of the window.

        Args:
            logits: (N, T, h, heads, w, L+U+V).

        Returns:
            (N, T, h, heads, w, L*U*w).
        """
        _, num_frames, height, _, width, _ = logits.shape
        frames, rows, columns = self.window
        by_frame, by_row, by_column = logits.split(self.window, dim=-1)
        offsets = _distances(width, logits.device) + columns // 2  # (w, w)
        by_column = by_column.take_along_dim(
            offsets.clamp(0, columns - 1).view(1, 1, 1, 1, width, width), -1
        )
        bias = (
            by_frame[..., :, None, None]
            + by_row[..., None, :, None]
            + by_column[..., None, None, :]
        )  # (N, T, h, heads, w, L, U, w)
        inside = (
            _inside(num_frames, frames, logits.device)[
                :, None, None, None, :, None, None
            ]
            & _inside(height, rows, logits.device)[:, None, None, None, :, None]
            & ((offsets >= 0) & (offsets < columns))[:, None, None, :]
        )  # (T, h, 1, w, L, U, w)
        return bias.masked_fill(~inside, float('-inf')).flatten(5)

    def extra_repr(self) -> str:
        return (
            f'num_segments={self.num_segments}, window={self.window}, '
            f'num_heads={self.num_heads}'
        )


@MODELS.register_module()
class NonLocalBlock(Module):
    """Non-local block over (t, x, y): Table 5 and Table 3g, "NL".

    Wang et al., "Non-local neural networks" (CVPR 2018), with the embedded Gaussian:
    mmcv's ``NonLocal3d`` on the frames of a clip. It holds (T*H*W)^2 weights a clip.

    Starts as the identity, with the scale of its norm at zero, as in the source.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Ignored; the block works at the size of its input. Default: 0.5.
        reduction: C over the channels of queries, keys and values. Default: 2, as in
            the source.
        sub_sample: Max-pool keys and values by two in x and y, the source's trick for
            a quarter of the products. Needs H, W of 2 or more. Default: False.
        zero_init_last_norm: Start as the identity. False leaves the norm's scale at
            mmcv's small random values. Default: True.
        norm_cfg: Config of the norm. Default: ``dict(type='BN')``.

    Raises:
        ValueError: reduction is less than 1 or more than the channels.
    """

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        scale: float = 0.5,
        reduction: int = 2,
        sub_sample: bool = False,
        zero_init_last_norm: bool = True,
        norm_cfg: Config | None = None,
    ) -> None:
        super().__init__()
        self.num_segments = check_int('num_segments', num_segments)
        check_choice('scale', scale, SCALES)
        self.non_local = NonLocal3d(
            check_int('in_channels', in_channels),
            sub_sample=check_bool('sub_sample', sub_sample),
            reduction=check_int('reduction', reduction, most=in_channels),
            norm_cfg=norm_3d(norm_cfg, (in_channels,), self),
            mode='embedded_gaussian',
            zeros_init=check_bool('zero_init_last_norm', zero_init_last_norm),
        )

    def init_weights(self) -> None:
        """Nothing: mmcv initializes at build, and cannot again with ``sub_sample``."""

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Add to each position the mean of all, weighted by similarity.

        Args:
            x: Visual features V, (N*T, C, H, W).
            num_segments: Frames per clip, T, of these features. Default: None, the
                ``num_segments`` that the block was built with.

        Returns:
            (N*T, C, H, W).

        Raises:
            ValueError: N*T is no multiple of ``num_segments``.
        """
        if num_segments is None:
            num_segments = self.num_segments
        check_num_segments(x.size(0), num_segments)
        if x.numel() == 0:  # which mmcv's cannot reshape
            return x
        clips = x.unflatten(0, (-1, num_segments)).transpose(1, 2)
        return self.non_local(clips.contiguous()).transpose(1, 2).flatten(0, 1)


@MODELS.register_module()
class MultiHeadSelfAttentionBlock(ZeroInitBlock):
    r"""Multi-head self-attention over (t, x, y): Table 5 and Table 3g, "MHSA".

    The residual branch of Srinivas et al., "Bottleneck transformers for visual
    recognition" (CVPR 2021), with time: 1x1 convolution, norm, ReLU; attention with
    the logits

    .. math::
        q_p^\top (k_{p'} + e_{t'-t} + e_{y'-y} + e_{x'-x}) / \sqrt{d}

    norm, ReLU; 1x1 convolution and norm. The heads share the embeddings e, as in the
    source; beyond ``max_distance`` so do all distances, hence any H and W. They are
    added by means of T + H + W more channels a head, so that no (T*H*W)^2 logits are
    held: a FLOP counter sees those channels, the definition does not need them.

    Starts as the identity, with the scale of its last norm at zero, as in the source.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Ignored; the block works at the size of its input. Default: 0.5.
        reduction: C over the channels of queries, keys and values. Default: 4, that of
            a ResNet's bottleneck.
        num_heads: Heads. Default: 4, as in the source.
        max_distance: Largest distance in x and y with an embedding of its own.
            Default: 27, all there are on 28x28 positions.
        zero_init_last_norm: Start as the identity. Default: True.
        norm_cfg: Config of the norms. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: An unusable argument; reduction is more than the channels; heads
            that do not divide the reduced channels.
    """

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        scale: float = 0.5,
        reduction: int = 4,
        num_heads: int = 4,
        max_distance: int = 27,
        zero_init_last_norm: bool = True,
        norm_cfg: Config | None = None,
        init_cfg: Config | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_int('in_channels', in_channels)
        check_choice('scale', scale, SCALES)
        check_int('reduction', reduction, most=in_channels)
        width = in_channels // reduction
        _check_heads('in_channels // reduction', width, num_heads)
        norm_cfg = norm_2d(norm_cfg, (width, in_channels), self)
        self.num_segments = check_int('num_segments', num_segments)
        self.num_heads = num_heads
        self.max_distance = check_int('max_distance', max_distance, least=0)
        self.reduce = ConvModule(in_channels, width, 1, norm_cfg=norm_cfg)
        self.query_key_value = nn.Conv2d(width, 3 * width, 1, bias=False)
        # The embeddings e, as the weight of a layer: mmaction2's optimizer
        # constructor for TSM passes over bare parameters.
        self.table_sizes = (2 * num_segments - 1, *[2 * max_distance + 1] * 2)
        self.position = nn.Linear(width // num_heads, sum(self.table_sizes), bias=False)
        _, self.norm = build_norm_layer(norm_cfg, width)
        self.expand = ConvModule(width, in_channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.start_at_zero(zero_init_last_norm)

    @property
    def last_norm(self) -> nn.Module:
        """The norm before the sum."""
        return self.expand.norm

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Add what the positions of a clip say of one another.

        Args:
            x: Visual features V, (N*T, C, H, W).
            num_segments: Frames per clip, T, of these features. Default: None, the
                ``num_segments`` that the block was built with.

        Returns:
            (N*T, C, H, W).

        Raises:
            ValueError: N*T is no multiple of ``num_segments``.
        """
        if num_segments is None:
            num_segments = self.num_segments
        check_num_segments(x.size(0), num_segments)
        out = self.attend(self.reduce(x), num_segments)
        return x + self.expand(F.relu(self.norm(out)))

    def attend(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Sum the values of all positions of the clip.

        Args:
            x: Reduced features, (N*T, C_r, H, W).
            num_segments: As for :meth:`forward`.

        Returns:
            (N*T, C_r, H, W).
        """
        if num_segments is None:
            num_segments = self.num_segments
        size = (num_segments, *x.shape[-2:])
        qkv = self.query_key_value(x).unflatten(1, (3, self.num_heads, -1))
        qkv = qkv.unflatten(0, (-1, num_segments))
        query, key, value = qkv.permute(2, 0, 3, 1, 5, 6, 4)  # (N, heads, T, H, W, d)
        query = query * query.size(-1) ** -0.5
        # A term for each t', y' and x' on the query's side and a one where the key
        # stands on the other: their product adds the three, and the (T*H*W)^2
        # logits need not be held.
        terms = self._position_terms(query)
        places = _places(size, key).expand(*key.shape[:-1], -1)
        out = F.scaled_dot_product_attention(
            torch.cat([query, *terms], -1).flatten(2, 4),
            torch.cat([key, places], -1).flatten(2, 4),
            # As wide as the others: the fused kernels want it so.
            F.pad(value, (0, sum(size))).flatten(2, 4),
            scale=1,
        )[..., : value.size(-1)]  # (N, heads, T*H*W, d)
        out = out.unflatten(2, size).permute(0, 2, 1, 5, 3, 4)
        return out.flatten(2, 3).flatten(0, 1)

    def _position_terms(self, query: Tensor) -> list[Tensor]:
        """Products with the embeddings of the distance to each t', y' and x'.

        Args:
            query: (N, heads, T, H, W, d).

        Returns:
            (N, heads, T, H, W, T), (N, heads, T, H, W, H) and (N, heads, T, H, W, W).
        """
        terms = []
        tables = self.position(query).split(self.table_sizes, dim=-1)
        for axis, table in enumerate(tables, start=2):
            length, reach = table.size(axis), table.size(-1) // 2
            index = _distances(length, query.device).clamp(-reach, reach) + reach
            shape = [1] * 5 + [length]
            shape[axis] = length
            terms.append(table.take_along_dim(index.view(shape), -1))
        return terms

    def extra_repr(self) -> str:
        return (
            f'num_segments={self.num_segments}, num_heads={self.num_heads}, '
            f'max_distance={self.max_distance}'
        )


def _distances(length: int, device: torch.device) -> Tensor:
    """Position of the key (column) minus that of the query (row)."""
    places = torch.arange(length, device=device)
    return places - places[:, None]


def _inside(length: int, window: int, device: torch.device) -> Tensor:
    """Whether the neighbours (columns) of each position (rows) exist."""
    places = torch.arange(length, device=device)[:, None]
    places = places + torch.arange(window, device=device) - window // 2
    return (places >= 0) & (places < length)


def _places(size: tuple[int, int, int], like: Tensor) -> Tensor:
    """One-hot t, y and x of each position, (T, H, W, T+H+W)."""
    places = []
    for axis, length in enumerate(size):
        shape = [1, 1, 1, length]
        shape[axis] = length
        eye = torch.eye(length, dtype=like.dtype, device=like.device)
        places.append(eye.view(shape).expand(*size, length))
    return torch.cat(places, -1)


def _check_heads(field: str, channels: int, num_heads: int) -> None:
    if channels % check_int('num_heads', num_heads):
        raise ValueError(
            f'num_heads must divide {field}={channels}, but got num_heads={num_heads}'
        )
