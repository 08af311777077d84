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
            index = distances(length, query.device).clamp(-reach, reach) + reach
            shape = [1] * 5 + [length]
            shape[axis] = length
            terms.append(table.take_along_dim(index.view(shape), -1))
        return terms

    def extra_repr(self) -> str:
        return (
            f'num_segments={self.num_segments}, num_heads={self.num_heads}, '
            f'max_distance={self.max_distance}'
        )


def _places(size: tuple[int, int, int], like: Tensor) -> Tensor:
    """One-hot t, y and x of each position, (T, H, W, T+H+W)."""
    places = []
    for axis, length in enumerate(size):
        shape = [1, 1, 1, length]
        shape[axis] = length
        eye = torch.eye(length, dtype=like.dtype, device=like.device)
        places.append(eye.view(shape).expand(*size, length))
    return torch.cat(places, -1)


def check_heads(option: str, channels: int, num_heads: int) -> None:
    """Check that channels can be split among heads.

    Args:
        option: Name of the channels, for the error.
        channels: Number of channels.
        num_heads: Number of heads.

    Raises:
        ValueError: No positive number, or one that does not divide the channels.
    """
    if channels % check_int('num_heads', num_heads):
        raise ValueError(
            f'num_heads must divide {option}={channels}, but got num_heads={num_heads}'
        )
