# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Local self-attention (Section 4.5, supplement C)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from torch import Tensor, nn

from selfy_mmaction.models.layers.building import build
from selfy_mmaction.models.layers.positions import centered, distances, neighbors_inside
from selfy_mmaction.ops import (
    check_ints,
)

from .grid_block import Config, GridBlock
from .multi_head_self_attention import check_heads


@MODELS.register_module()
class LocalSelfAttentionBlock(GridBlock):
    r"""Local self-attention in space and time: Table 5, "LSA"; Table 3e, first row.

    Extends Ramachandran et al., "Stand-alone self-attention in vision models" (NeurIPS
    2019), to time, on SELFY's matching grid:

    .. math::
        y_p = \sum_{r \in (L, U, V)} \mathrm{softmax}_r \left( q_p^\top
        (k_{p+r} + e_l + e_u + e_v) / \sqrt{d} \right) v_{p+r}

    over all r = (l, u, v) with p + r inside the clip and the frame, per head of d
    channels. The integration maps y to C channels. Two choices differ from the source:
    it concatenates embeddings of half the channels each and does not divide by
    :math:`\sqrt{d}`.

    Like a SELFY block, it does not start as the identity by default.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Side of the grid relative to that of the input. Default: 0.5.
        window: Neighborhood (L, U, V), odd. Default: (5, 9, 9), as in Table 5.
        reduced_channels: Channels of queries, keys and values, over all heads. Table 3e
            uses 32. Default: 128, as in SELFY.
        num_heads: Number of heads. Default: 8, as in the source.
        integration: Config of the integration, which sees one temporal offset. For
            "followed by feature integration layers" in Table 3e, use
            ``dict(channels=(64, 64, 64, 64))``. Default: :class:`ConvIntegration`
            without 3x3 layers.
        fusion: Config of the fusion. Default: :class:`ResidualFusion` as in Eq. 9.
        zero_init_last_norm: Whether to initialize the scale of the last norm to zero,
            which needs a fusion other than Eq. 9. Default: False.
        norm_cfg: Config of the norms. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If an argument is invalid, arguments are incompatible, or
            ``num_heads`` does not divide ``reduced_channels``.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import LocalSelfAttentionBlock
        >>> block = LocalSelfAttentionBlock(
        ...     in_channels=64, num_segments=4, window=(3, 5, 5), reduced_channels=32
        ... )
        >>> block(torch.randn(2 * 4, 64, 14, 14)).shape
        torch.Size([8, 64, 14, 14])
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
                'window must be (L, U, V), three positive odd integers such as '
                f'(5, 9, 9), but got {self.window}'
            )
        check_heads('reduced_channels', reduced_channels, num_heads)
        self.num_heads = num_heads
        self._head_width = reduced_channels // num_heads
        width = reduced_channels
        self.query = nn.Conv2d(width, width, 1, bias=False)
        self.key = nn.Conv2d(width, width, 1, bias=False)
        self.value = nn.Conv2d(width, width, 1, bias=False)
        # e_l, e_u and e_v of each head; only their products with the queries are
        # needed. They are the weight of a convolution because mmaction2's optimizer
        # constructor for TSM skips bare parameters.
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
        """The last norm of the integration."""
        return self.integration.last_norm

    def on_grid(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Attend and integrate.

        Args:
            x: Reduced features, (N*T, C_r, h, w).
            num_segments: See :meth:`forward`.

        Returns:
            (N*T, C, h, w).
        """
        # Not unsqueeze, which would stay as a tensor of six dimensions in ONNX.
        attended = self.attend(x, num_segments).unflatten(-1, (1, -1))
        return self.integration(attended)

    def attend(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Sum the values of each position's neighbors.

        Args:
            x: Reduced features, (N*T, C_r, h, w).
            num_segments: See :meth:`forward`.

        Returns:
            (N, T, h, w, C_r).
        """
        if num_segments is None:
            num_segments = self.num_segments
        # A row of queries attends to the L*U rows of its window at once. Compared with
        # one window per query, that takes V times fewer copies of keys and values for
        # w/V times the products.
        # No tensor has more than five dimensions, because some runtimes lack more.
        query = self.query(x) * (x.size(1) // self.num_heads) ** -0.5
        bias = self._position_bias(
            self._by_row(self.position(query)), num_segments, x.size(2)
        )
        out = F.scaled_dot_product_attention(
            self._by_row(query),
            self._rows_of_window(self.key(x), num_segments),
            self._rows_of_window(self.value(x), num_segments),
            attn_mask=bias,
            scale=1,
        )  # (N*T*h, heads, w, d)
        out = out.transpose(1, 2).flatten(2)
        return out.unflatten(0, (-1, num_segments, x.size(2)))

    def _by_row(self, x: Tensor) -> Tensor:
        """Reshape (N*T, heads*d, h, w) to (N*T*h, heads, w, d)."""
        rows = x.permute(0, 2, 3, 1).flatten(0, 1)  # (N*T*h, w, heads*d)
        return rows.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _rows_of_window(self, x: Tensor, num_segments: int) -> Tensor:
        """Gather (N*T, heads*d, h, w) to (N*T*h, heads, L*U*w, d), zero-padded."""
        (frames, rows, _), (height, width) = self.window, x.shape[-2:]
        t, y = frames // 2, rows // 2
        x = x.unflatten(1, (self.num_heads, -1)).permute(0, 3, 1, 4, 2)
        x = x.flatten(2).unflatten(0, (-1, num_segments))  # (N, T, h, heads*w*d)
        x = F.pad(x, (0, 0, y, y, t, t))
        stride = x.size(2)
        x = x.unflatten(-1, (self.num_heads, -1)).flatten(1, 3)  # (N, T*h*heads, w*d)

        def places(first: int, second: int) -> Tensor:
            columns = torch.arange(second, device=x.device)
            return torch.arange(first, device=x.device)[:, None] * stride + columns

        # One index instead of an unfold for each of T and h, whose gradients are slow.
        index = places(num_segments, height).flatten()[:, None, None]
        index = index + places(frames, rows).flatten()  # (T*h, 1, L*U)
        heads = torch.arange(self.num_heads, device=x.device)[:, None]
        index = (index * self.num_heads + heads).flatten()
        x = x.index_select(1, index)  # (N, T*h*heads*L*U, w*d)
        keys = frames * rows * width
        return x.reshape(-1, self.num_heads, keys, self._head_width)

    def _position_bias(self, logits: Tensor, num_frames: int, height: int) -> Tensor:
        """Compute the position bias per key, -inf outside the window.

        Args:
            logits: Products with the embeddings, (N*T*h, heads, w, L+U+V).
            num_frames: T.
            height: h.

        Returns:
            (N*T*h, heads, w, L*U*w).
        """

        def inside(length: int, window: int) -> Tensor:
            return neighbors_inside(length, centered(window), logits.device)

        width = logits.size(2)
        frames, rows, columns = self.window
        by_frame, by_row, by_column = logits.split(self.window, dim=-1)
        offsets = distances(width, logits.device) + columns // 2  # (w, w)
        index = offsets.clamp(0, columns - 1).expand(*by_column.shape[:-1], -1)
        # Not take_along_dim, for which torch.export would fix the number of clips.
        by_column = by_column.gather(-1, index)
        by_row = (by_frame.unsqueeze(-1) + by_row.unsqueeze(-2)).flatten(3)
        bias = by_row.unsqueeze(-1) + by_column.unsqueeze(-2)  # (.., w, L*U, w)
        rows_inside = (
            inside(num_frames, frames)[:, None, :, None]
            & inside(height, rows)[None, :, None, :]
        )  # (T, h, L, U)
        columns_inside = (offsets >= 0) & (offsets < columns)
        mask = (
            rows_inside.view(-1, 1, frames * rows, 1) & columns_inside[None, :, None]
        )  # (T*h, w, L*U, w)
        size = bias.flatten(3).shape
        bias = bias.reshape(-1, len(mask), self.num_heads, mask[0].numel())
        return bias.masked_fill(~mask.flatten(1).unsqueeze(1), float('-inf')).view(size)

    def extra_repr(self) -> str:
        """Return the options to print."""
        return (
            f'num_segments={self.num_segments}, window={self.window}, '
            f'num_heads={self.num_heads}'
        )
