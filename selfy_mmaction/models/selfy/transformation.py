# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""STSS transformation (Section 3.1, Eq. 1; supplement Table 3e)."""

from collections.abc import Sequence
from typing import Any

import torch
from mmaction.registry import MODELS
from torch import Tensor, nn

from selfy_mmaction.models.layers.building import Module
from selfy_mmaction.models.layers.frames import frames_at
from selfy_mmaction.models.layers.positions import centered, neighbors_inside
from selfy_mmaction.ops import (
    check_backend,
    check_choice,
    check_int,
    check_num_segments,
    check_offsets,
    check_positive,
    check_window,
    self_similarity,
)

from .clip_ends import frames_with_neighbor, offsets_within_clip, select

SIMILARITIES = ('cosine', 'scaled_dot', 'softmax')
_CLIP_ENDS = ('zeros', 'replicate', 'repeat')


@MODELS.register_module()
class STSSTransformation(Module):
    r"""Spatio-temporal self-similarity of features, Eq. 1.

    Args:
        num_segments: Frames per clip, T. Default: 8.
        offsets: Set of temporal offsets l, in frames. A single int is allowed. Offsets
            beyond the clip trigger a warning. Default: -2 to 2.
        window: Spatial window (U, V), odd. An int gives a square window.
            Default: (9, 9).
        similarity: Similarity of a position a and its neighbor b. Default: 'cosine'.

            - 'cosine': As in Eq. 1.
            - 'scaled_dot': The product :math:`a \cdot b / \sqrt{C_r}`.
            - 'softmax': The softmax of 'scaled_dot' over the neighbors inside the frame
              of one temporal offset.

            The last two are those of RLDX-1's motion module and MOSS's code.
        clip_ends: What follows the first and the last frame of the clip.
            Default: 'zeros'.

            - 'zeros': Frames of zeros: similarities of zero, and with 'softmax' equal
              weights for all neighbors inside the frame.
            - 'replicate': The end frame itself, as in RLDX-1's motion module.
            - 'repeat': No frame; the similarities are those of the nearest frame that
              has a frame at this offset, as in MSNet. Zeros if no frame has.
        eps: Added to the squared norms of the cosine similarity; positive.
            Default: 1e-6.
        backend: 'auto', 'torch' or 'triton'; see
            :func:`~selfy_mmaction.ops.self_similarity`. Default: 'auto'.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import STSSTransformation
        >>> transformation = STSSTransformation(offsets=(0, 1), window=(5, 5))
        >>> stss = transformation(torch.randn(8, 16, 7, 7))
        >>> stss.shape  # (N, T, h, w, L, U, V)
        torch.Size([1, 8, 7, 7, 2, 5, 5])
        >>> round(stss[0, 0, 3, 3, 0, 2, 2].item(), 3)  # a position and itself
        1.0
    """

    def __init__(
        self,
        num_segments: int = 8,
        offsets: int | Sequence[int] = (-2, -1, 0, 1, 2),
        window: int | Sequence[int] = (9, 9),
        eps: float = 1e-6,
        backend: str = 'auto',
        similarity: str = 'cosine',
        clip_ends: str = 'zeros',
    ) -> None:
        super().__init__()
        self.num_segments = check_int('num_segments', num_segments)
        self.offsets = check_offsets(offsets, num_segments)
        self.window = check_window(window)
        self.similarity = check_choice('similarity', similarity, SIMILARITIES)
        self.clip_ends = check_choice('clip_ends', clip_ends, _CLIP_ENDS)
        self.eps = check_positive('eps', eps)
        self.backend = check_backend(backend)

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Transform features to the STSS tensor.

        Args:
            x: Reduced features, (N*T, C_r, h, w).
            num_segments: Frames per clip, T. Default: None, the step's
                ``num_segments``.

        Returns:
            STSS tensor S, (N, T, h, w, L, U, V).
        """
        frames = self.num_segments if num_segments is None else num_segments
        check_num_segments(x.size(0), frames)
        feats: Tensor = x
        offsets: Sequence[int] = self.offsets
        if self.similarity == 'softmax':
            feats = feats.to(torch.promote_types(x.dtype, torch.float32))
        if self.similarity != 'cosine':
            # Half of the scale for each of the two factors.
            feats = feats * x.size(1) ** -0.25
        if self.clip_ends == 'replicate':
            index = offsets_within_clip(self.offsets, frames)  # (T, L)
            offsets = sorted({offset for row in index for offset in row})
        stss = self_similarity(
            feats,
            offsets,
            self.window,
            frames,
            eps=self.eps,
            similarity='cosine' if self.similarity == 'cosine' else 'dot',
            backend=self.backend,
        )
        if self.clip_ends == 'replicate':
            stss = select(stss, [[*map(offsets.index, row)] for row in index], 3)
        elif self.clip_ends == 'repeat':
            stss = select(stss, frames_with_neighbor(self.offsets, frames), 1)
        if self.similarity == 'softmax':
            in_frame = _neighbors_in_frame(stss, self.window)  # (h*w, U*V)
            weights = stss.flatten(2, 3).flatten(0, 1).flatten(-2)  # (N*T, h*w, L, U*V)
            weights = _masked_softmax(weights, ~in_frame.unsqueeze(1))
            stss = weights.reshape(stss.shape).to(x.dtype)
        return stss

    def extra_repr(self) -> str:
        """Return the options to print."""
        return (
            f'num_segments={self.num_segments}, offsets={self.offsets}, '
            f'window={self.window}, similarity={self.similarity!r}, '
            f'clip_ends={self.clip_ends!r}'
        )


def _neighbors_in_frame(stss: Tensor, window: tuple[int, int]) -> Tensor:
    """Return which neighbors are inside the frame, (h*w, U*V), bool."""
    (height, width), (rows, cols) = stss.shape[2:4], window
    in_rows = neighbors_inside(height, centered(rows), stss.device)
    in_cols = neighbors_inside(width, centered(cols), stss.device)
    in_frame = in_rows[:, None, :, None] & in_cols[None, :, None, :]
    return in_frame.flatten(2).flatten(0, 1)


def _masked_softmax(scores: Tensor, outside: Tensor) -> Tensor:
    """Softmax over the last dimension; what is outside gets zero."""
    # The lowest number instead of -inf: the softmax of a query without neighbors would
    # be NaN.
    lowest = torch.finfo(scores.dtype).min
    weights = scores.masked_fill(outside, lowest).softmax(-1)
    return weights.masked_fill(outside, 0)


@MODELS.register_module()
class EmbeddedGaussianTransformation(Module):
    r"""Attention weights of local self-attention, supplement Table 3e.

    .. math::
        S_{t,x,y,l,u,v} = \mathrm{softmax}_{l,u,v}
        (\theta(V_{t,x,y}) \cdot \phi(V_{t+l,x+u,y+v}))

    theta and phi are 1x1 convolutions without bias. The softmax excludes positions
    outside the frame and frames outside the clip: their values are zero, and the values
    of the other neighbors sum to 1 per query (t, x, y). A query without neighbors has
    only zeros. Products and softmax are computed in at least float32.

    Args:
        in_channels: C_r, the width of the reduced features.
        num_segments: Frames per clip, T. Default: 8.
        offsets: Set of temporal offsets l, in frames. A single int is allowed. Offsets
            beyond the clip trigger a warning. Default: -2 to 2.
        window: Spatial window (U, V), odd. An int gives a square window.
            Default: (9, 9).
        backend: 'auto', 'torch' or 'triton'; see
            :func:`~selfy_mmaction.ops.self_similarity`. Default: 'auto'.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import EmbeddedGaussianTransformation
        >>> transformation = EmbeddedGaussianTransformation(in_channels=16, window=5)
        >>> weights = transformation(torch.randn(8, 16, 7, 7))
        >>> torch.allclose(weights.sum(dim=(4, 5, 6)), torch.ones(1, 8, 7, 7))
        True
    """

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        offsets: int | Sequence[int] = (-2, -1, 0, 1, 2),
        window: int | Sequence[int] = (9, 9),
        backend: str = 'auto',
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.num_segments = check_int('num_segments', num_segments)
        self.offsets = check_offsets(offsets, num_segments)
        self.window = check_window(window)
        self.backend = check_backend(backend)
        check_int('in_channels', in_channels)
        # The paper does not give their width.
        self.theta = nn.Conv2d(in_channels, in_channels, 1, bias=False)
        self.phi = nn.Conv2d(in_channels, in_channels, 1, bias=False)

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Transform features to the STSS tensor.

        Args:
            x: Reduced features, (N*T, C_r, h, w).
            num_segments: Frames per clip, T. Default: None, the step's
                ``num_segments``.

        Returns:
            STSS tensor S, (N, T, h, w, L, U, V).
        """
        queries, keys = self.theta(x), self.phi(x)
        dtype = torch.promote_types(queries.dtype, torch.float32)
        scores = self_similarity(
            queries.to(dtype),
            self.offsets,
            self.window,
            self.num_segments if num_segments is None else num_segments,
            similarity='dot',
            keys=keys.to(dtype),
            backend=self.backend,
        )
        in_clip = neighbors_inside(scores.size(1), self.offsets, scores.device)
        return self.normalize(scores, in_clip).to(x.dtype)

    def normalize(self, scores: Tensor, in_clip: Tensor) -> Tensor:
        """Turn products into weights.

        Args:
            scores: Products, (N, T, h, w, L, U, V).
            in_clip: Which frames t + l exist, (T, L), bool.

        Returns:
            Weights, with the shape and dtype of ``scores``.
        """
        in_frame = _neighbors_in_frame(scores, self.window)
        inside = in_clip[:, None, :, None] & in_frame[None, :, None, :]
        outside = ~inside.flatten(2)  # (T, h*w, L*U*V)
        # Fewer dimensions, because some runtimes support five at most.
        weights = scores.reshape(-1, *outside.shape)  # (N, T, h*w, L*U*V)
        return _masked_softmax(weights, outside).reshape(scores.shape)

    def extra_repr(self) -> str:
        """Return the options to print."""
        return (
            f'num_segments={self.num_segments}, offsets={self.offsets}, '
            f'window={self.window}'
        )


@MODELS.register_module()
class ConvTransformation(Module):
    r"""Convolutions in place of the similarity, at the same cost; not in the paper.

    .. math::
        S_{t,x,y,l,u,v} = w_{l,u,v} \cdot V_{t+l,x,y}

    A control: a block that has it sees the same frames and does the same number of
    multiply-adds, but compares nothing. Frames outside the clip are zeros.

    Args:
        in_channels: C_r, the width of the reduced features.
        num_segments: Frames per clip, T. Default: 8.
        offsets: Set of temporal offsets l, in frames. A single int is allowed. Offsets
            beyond the clip trigger a warning. Default: -2 to 2.
        window: Number of outputs (U, V) per offset, odd. An int gives a square window.
            Default: (9, 9).
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import SELFYBlock
        >>> block = SELFYBlock(64, transformation=dict(type='ConvTransformation'))
        >>> block.transformation(torch.randn(8, 128, 7, 7)).shape
        torch.Size([1, 8, 7, 7, 5, 9, 9])
    """

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        offsets: int | Sequence[int] = (-2, -1, 0, 1, 2),
        window: int | Sequence[int] = (9, 9),
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.num_segments = check_int('num_segments', num_segments)
        self.offsets = check_offsets(offsets, num_segments)
        self.window = check_window(window)
        check_int('in_channels', in_channels)
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, self.window[0] * self.window[1], 1, bias=False)
            for _ in self.offsets
        )

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Transform features to a tensor with the shape of the STSS tensor.

        Args:
            x: Reduced features, (N*T, C_r, h, w).
            num_segments: Frames per clip, T. Default: None, the step's
                ``num_segments``.

        Returns:
            S, (N, T, h, w, L, U, V).

        Raises:
            ValueError: If N*T is not a multiple of ``num_segments``.
        """
        frames = self.num_segments if num_segments is None else num_segments
        maps = [
            conv(shifted)
            for conv, shifted in zip(
                self.convs, frames_at(x, frames, self.offsets), strict=True
            )
        ]  # of (N*T, U*V, h, w)
        # Not stack: no tensor has more than five dimensions, because some runtimes lack
        # more.
        stss = torch.cat(maps, 1).unflatten(0, (-1, frames)).movedim(2, -1)
        return stss.unflatten(-1, (len(self.offsets), *self.window))

    def extra_repr(self) -> str:
        """Return the options to print."""
        return (
            f'num_segments={self.num_segments}, offsets={self.offsets}, '
            f'window={self.window}'
        )
