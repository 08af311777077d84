# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Multi-head self-attention over the whole clip (Section 4.5, supplement C)."""

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmcv.cnn import ConvModule, build_norm_layer
from torch import Tensor, nn

from selfy_mmaction.models.layers.norms import norm_2d
from selfy_mmaction.models.layers.positions import distances
from selfy_mmaction.models.layers.zero_init import ZeroInitBlock
from selfy_mmaction.ops import (
    check_int,
    check_num_segments,
)

from .grid_block import Config


@MODELS.register_module()
class MultiHeadSelfAttentionBlock(ZeroInitBlock):
    r"""Multi-head self-attention over (t, x, y): Table 5 and Table 3g, "MHSA".

    Extends the residual branch of Srinivas et al., "Bottleneck transformers for visual
    recognition" (CVPR 2021), to time: 1x1 convolution, norm, ReLU; attention with the
    logits

    .. math::
        q_p^\top (k_{p'} + e_{t'-t} + e_{y'-y} + e_{x'-x}) / \sqrt{d}

    norm, ReLU; 1x1 convolution and norm. The heads share the embeddings e, as in the
    source. Distances beyond ``max_distance`` use its embedding, so any H and W are
    supported. The embeddings are added through T + H + W extra channels per head, which
    avoids storing (T*H*W)^2 logits; FLOP counters include these channels, although the
    definition does not need them.

    Starts as the identity: the scale of its last norm is zero, as in the source.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        reduction: Ratio of C to the channels of queries, keys and values. Default: 4,
            as in the bottleneck of a ResNet.
        num_heads: Number of heads. Default: 4, as in the source.
        max_distance: Largest distance in x and y with its own embedding. Default: 27,
            which covers 28x28 positions.
        zero_init_last_norm: Whether to start as the identity. Default: True.
        norm_cfg: Config of the norms. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If an argument is invalid, ``reduction`` exceeds ``in_channels``, or
            ``num_heads`` does not divide the reduced channels.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import MultiHeadSelfAttentionBlock
        >>> block = MultiHeadSelfAttentionBlock(in_channels=64, num_segments=4)
        >>> features = torch.randn(2 * 4, 64, 7, 9)
        >>> block.attend(torch.randn(2 * 4, 16, 7, 9)).shape  # 64 / reduction channels
        torch.Size([8, 16, 7, 9])
        >>> torch.equal(block(features), features)  # starts as the identity
        True
    """

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        reduction: int = 4,
        num_heads: int = 4,
        max_distance: int = 27,
        zero_init_last_norm: bool = True,
        norm_cfg: Config | None = None,
        init_cfg: Config | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_int('in_channels', in_channels)
        check_int('reduction', reduction, most=in_channels)
        width = in_channels // reduction
        check_heads('in_channels // reduction', width, num_heads)
        norm_cfg = norm_2d(norm_cfg, (width, in_channels), self)
        self.num_segments = check_int('num_segments', num_segments)
        self.num_heads = num_heads
        self.max_distance = check_int('max_distance', max_distance, least=0)
        self.reduce = ConvModule(in_channels, width, 1, norm_cfg=norm_cfg)
        self.query_key_value = nn.Conv2d(width, 3 * width, 1, bias=False)
        # The embeddings e. They are the weight of a layer because mmaction2's optimizer
        # constructor for TSM skips bare parameters.
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
        """Add attention over all positions of the clip to the features.

        Args:
            x: Visual features V, (N*T, C, H, W).
            num_segments: Frames per clip, T. Default: None, the block's
                ``num_segments``.

        Returns:
            (N*T, C, H, W).

        Raises:
            ValueError: If N*T is not a multiple of ``num_segments``.
        """
        if num_segments is None:
            num_segments = self.num_segments
        check_num_segments(x.size(0), num_segments)
        out = self.attend(self.reduce(x), num_segments)
        return x + self.expand(F.relu(self.norm(out)))

    def attend(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Compute the weighted sum of the values of all positions of the clip.

        Args:
            x: Reduced features, (N*T, C_r, H, W).
            num_segments: See :meth:`forward`.

        Returns:
            (N*T, C_r, H, W).
        """
        if num_segments is None:
            num_segments = self.num_segments
        size = (num_segments, *x.shape[-2:])
        # No tensor has more than five dimensions, because some runtimes lack more.
        qkv = self.query_key_value(x).unflatten(0, (-1, num_segments))
        qkv = qkv.permute(0, 1, 3, 4, 2).flatten(1, 3)  # (N, T*H*W, 3*heads*d)
        query, key, value = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in qkv.chunk(3, -1)
        )  # (N, heads, T*H*W, d)
        query = query * query.size(-1) ** -0.5
        # Queries get one term per t', y' and x'; keys get a one-hot code of their
        # position. Their product adds the three terms without storing (T*H*W)^2 logits.
        terms = self._position_terms(query, size)
        places = _places(size, key).expand(*key.shape[:-1], -1)
        out = F.scaled_dot_product_attention(
            torch.cat([query, *terms], -1),
            torch.cat([key, places], -1),
            # The fused kernels require values as wide as queries and keys.
            F.pad(value, (0, sum(size))),
            scale=1,
        )[..., : value.size(-1)]  # (N, heads, T*H*W, d)
        out = out.transpose(2, 3).flatten(1, 2).unflatten(-1, size)
        return out.transpose(1, 2).flatten(0, 1)

    def _position_terms(
        self, query: Tensor, size: tuple[int, int, int]
    ) -> list[Tensor]:
        """Compute products with the embeddings of distances to each t', y' and x'.

        Args:
            query: (N, heads, T*H*W, d).
            size: (T, H, W).

        Returns:
            (N, heads, T*H*W, T), (N, heads, T*H*W, H) and (N, heads, T*H*W, W).
        """
        terms = []
        tables = self.position(query).split(self.table_sizes, dim=-1)
        for axis, (table, length) in enumerate(zip(tables, size, strict=True)):
            reach = table.size(-1) // 2
            index = distances(length, query.device).clamp(-reach, reach) + reach
            shape = [1, 1, 1, length]
            shape[axis] = length
            index = index.view(shape).expand(*size, length).flatten(0, 2)
            # Not take_along_dim, for which torch.export would fix the number of clips.
            terms.append(table.gather(-1, index.expand(*table.shape[:-1], -1)))
        return terms

    def extra_repr(self) -> str:
        """Return the options to print."""
        return (
            f'num_segments={self.num_segments}, num_heads={self.num_heads}, '
            f'max_distance={self.max_distance}'
        )


def _places(size: tuple[int, int, int], like: Tensor) -> Tensor:
    """Return one-hot codes of t, y and x of each position, (T*H*W, T+H+W)."""
    places = []
    for axis, length in enumerate(size):
        shape = [1, 1, 1, length]
        shape[axis] = length
        eye = torch.eye(length, dtype=like.dtype, device=like.device)
        places.append(eye.view(shape).expand(*size, length))
    return torch.cat(places, -1).flatten(0, 2)


def check_heads(option: str, channels: int, num_heads: int) -> None:
    """Check that the channels can be split among the heads.

    Args:
        option: Name of the option that sets the channels, for the error message.
        channels: Number of channels.
        num_heads: Number of heads.

    Raises:
        ValueError: If ``num_heads`` is not positive or does not divide ``channels``.
    """
    if channels % check_int('num_heads', num_heads):
        raise ValueError(
            f'num_heads must divide {option}={channels}, but got num_heads={num_heads}'
        )
