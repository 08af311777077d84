# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Eq. 1 in pure PyTorch, for any device.

A row of W queries sees U rows of neighbors. One matrix product computes all products
between them, a *band*; the windows are a strided view of it (:class:`_Bands`). All
pairs of frames share the memory for the bands of one pair.

Without separate keys, S(t, x, l, u) = S(t+l, x+u, -l, -u): the bands of an offset are
also read for the opposite offset, through another strided view.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Window = tuple[int, int]


@dataclass(frozen=True)
class _Pairs:
    """Pairs of frames (t, t + l), both inside the clip, for one temporal offset."""

    offset: int
    index: int  # of the offset in the set
    mirror_index: int | None  # of the opposite offset, if the pairs also serve it
    frames: range  # t

    def of(self, clips: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Yield (clip, frame) of the queries and of the neighbors, per pair."""
        for clip, frame in itertools.product(range(clips), self.frames):
            yield (clip, frame), (clip, frame + self.offset)


def _pairs(offsets: Sequence[int], num_segments: int, own: bool) -> Iterator[_Pairs]:
    """Yield the pairs to compute; ``own`` if queries and keys are the same."""
    for index, offset in enumerate(offsets):
        mirrored = own and -offset in offsets
        if abs(offset) >= num_segments or (mirrored and offset < 0):
            continue
        yield _Pairs(
            offset=offset,
            index=index,
            mirror_index=offsets.index(-offset) if mirrored else None,
            frames=range(max(0, -offset), min(num_segments, num_segments - offset)),
        )


def forward(
    feats: Tensor,
    keys: Tensor | None,
    offsets: Sequence[int],
    window: Window,
    num_segments: int,
    eps: float,
    similarity: str,
) -> Tensor:
    """Compute the similarities of each position to its spatio-temporal neighbors.

    Args:
        feats: Features of the positions, (N*T, C, H, W).
        keys: Features of the neighbors, with the shape and dtype of ``feats``. None
            means ``feats``.
        offsets: Temporal offsets ``l``.
        window: ``(U, V)``.
        num_segments: Frames per clip, ``T``.
        eps: Added to the squared norms.
        similarity: 'cosine' or 'dot'.

    Returns:
        STSS tensor, (N, T, H, W, L, U, V), in the dtype of ``feats``.
    """
    unit, _ = prepare(feats, num_segments, eps, similarity)
    clips, _, _, height, width = unit.shape
    bands = _Bands(height, width, window, like=unit)
    queries, seen = bands.operands(unit)
    if keys is not None:
        _, seen = bands.operands(prepare(keys, num_segments, eps, similarity)[0])
    stss = feats.new_zeros(clips, num_segments, height, width, len(offsets), *window)
    values = stss.movedim(4, 2)  # (N, T, L, H, W, U, V)
    with torch.autocast(feats.device.type, enabled=False):
        for pairs in _pairs(offsets, num_segments, own=keys is None):
            for frame, neighbor in pairs.of(clips):
                torch.bmm(queries[frame], seen[neighbor], out=bands.products)
                values[frame + (pairs.index,)].copy_(bands.seen_by_queries)
                if pairs.mirror_index is not None and pairs.offset:
                    opposite = values[neighbor + (pairs.mirror_index,)]
                    opposite.copy_(bands.seen_by_neighbors)
    _clear_columns_outside(stss)
    return stss


def backward(
    grad_stss: Tensor,
    feats: Tensor,
    keys: Tensor | None,
    offsets: Sequence[int],
    window: Window,
    num_segments: int,
    eps: float,
    similarity: str,
) -> tuple[Tensor, Tensor | None]:
    """Compute the gradients of :func:`forward`, given only its inputs.

    Args:
        grad_stss: Gradient of the STSS tensor, (N, T, H, W, L, U, V).
        feats: See :func:`forward`.
        keys: See :func:`forward`.
        offsets: See :func:`forward`.
        window: See :func:`forward`.
        num_segments: See :func:`forward`.
        eps: See :func:`forward`.
        similarity: See :func:`forward`.

    Returns:
        Gradients of ``feats`` and of ``keys``; the latter is None if ``keys`` is.
    """
    unit, scale = prepare(feats, num_segments, eps, similarity)
    channels, height, width = unit.shape[2:]
    bands = _Bands(height, width, window, like=unit)
    _, seen_back = bands.operands(unit)
    size = (*unit.shape[:2], height, bands.row, channels)
    grad_queries = unit.new_zeros(size)
    if keys is None:
        seen, grad_keys = seen_back, grad_queries
    else:
        unit_keys, key_scale = prepare(keys, num_segments, eps, similarity)
        _, seen = bands.operands(unit_keys)
        grad_keys = unit.new_zeros(size)
    grad_stss = grad_stss.to(unit.dtype, copy=True)
    _clear_columns_outside(grad_stss)
    values = grad_stss.movedim(4, 2)  # (N, T, L, H, W, U, V)
    with torch.autocast(feats.device.type, enabled=False):
        for pairs in _pairs(offsets, num_segments, own=keys is None):
            for frame, neighbor in pairs.of(len(unit)):
                grad, opposite = values[frame + (pairs.index,)], None
                if pairs.mirror_index is not None:
                    opposite = values[neighbor + (pairs.mirror_index,)]
                bands.set_sum(by_queries=grad, by_neighbors=opposite)
                bands.add_product(seen[neighbor], to=grad_queries[frame])
                # For offset 0 without keys, the bands already hold both sides.
                if keys is not None or pairs.offset:
                    bands.set_sum(by_queries=opposite, by_neighbors=grad)
                    bands.add_product(seen_back[frame], to=grad_keys[neighbor])
    grad_feats = _backward_of_prepare(grad_queries, unit, scale, feats.dtype)
    if keys is None:
        return grad_feats, None
    return grad_feats, _backward_of_prepare(grad_keys, unit_keys, key_scale, keys.dtype)


def prepare(
    x: Tensor, num_segments: int, eps: float, similarity: str, may_inspect: bool = True
) -> tuple[Tensor, Tensor | None]:
    """Scale features so that their similarities are plain products.

    Args:
        x: (N*T, C, H, W).
        num_segments: Frames per clip, ``T``.
        eps: Added to the squared norms.
        similarity: 'cosine' or 'dot'.
        may_inspect: Whether the choice of operations may depend on values.
            Default: True.

    Returns:
        The scaled features, (N, T, C, H, W), in at least float32, and the scale,
        (N, T, 1, H, W), or None for 'dot'.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    x = x.unflatten(0, (-1, num_segments))
    if similarity == 'dot':
        return x, None
    squares = x.square().sum(2, keepdim=True)
    overflow = squares == math.inf
    # On other devices, the synchronization costs more than it saves.
    if may_inspect and x.device.type == 'cpu' and not overflow.any():
        scale = torch.rsqrt(squares + eps)
        return x * scale, scale
    # A power of two causes no rounding. Infinite features become NaN.
    exponent = math.frexp(torch.finfo(x.dtype).max)[1]
    shrink = torch.ones_like(squares)
    shrink = shrink.masked_fill(overflow, 2.0 ** -round(0.55 * exponent))
    x = x * shrink
    squares = x.square().sum(2, keepdim=True)
    scale = torch.rsqrt(squares + eps * shrink.square())
    return x * scale, shrink * scale


def _backward_of_prepare(
    grad: Tensor, unit: Tensor, scale: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Map the gradient of scaled features, (N, T, H, W, C), to (N*T, C, H, W)."""
    grad = grad[..., : unit.size(-1), :].permute(0, 1, 4, 2, 3).contiguous()
    if scale is not None:
        grad = scale * (grad - unit * (unit * grad).sum(2, keepdim=True))
    return grad.flatten(0, 1).to(dtype)


def _clear_columns_outside(stss: Tensor) -> None:
    """Zero the neighbors left and right of the frame in (N, T, H, W, L, U, V)."""
    width, reach = stss.size(3), stss.size(-1) // 2
    for distance in range(min(reach, width)):  # from the edge
        stss[:, :, :, distance, :, :, : reach - distance] = 0
        stss[:, :, :, width - 1 - distance, :, :, reach + 1 + distance :] = 0


class _Bands:
    """Products of each row of one frame with the rows that it sees in another.

    Rows above and below the frame are zeros. Columns left and right of it are not
    padded: there, the views overrun into the next row. What they read must be cleared,
    and what they write must be zero (:func:`_clear_columns_outside`). Rows are at least
    as wide as the window, so no product serves two neighbors of a query.

    Args:
        height: Rows of a frame, H.
        width: Columns of a frame, W.
        window: ``(U, V)``.
        like: Tensor with the desired dtype and device.

    Attributes:
        products: Products of one pair of frames, (H, W, neighbors); the neighbors are
            U rows plus up to 15 more.
        seen_by_queries: View of the products, (H, W, U, V): at (x, u), the product of
            query x and neighbor x + u.
        seen_by_neighbors: The same from the neighbors' side: at (x, u), the product of
            query x + u and neighbor x.
    """

    def __init__(self, height: int, width: int, window: Window, like: Tensor) -> None:
        self.height, self.width, self.window = height, width, window
        self.row = max(width, window[1])
        # Padding to a multiple of 16 speeds up the product despite the extra columns.
        self.neighbors = -(-window[0] * self.row // 16) * 16
        band = self.row * self.neighbors
        above, left = window[0] // 2, window[1] // 2
        # Room for the rows outside the frame and for their columns outside it.
        margin = above * band + left * self.neighbors
        self._memory = like.new_zeros(height * band + 2 * margin)
        self.products = self._memory[margin : margin + height * band].view(
            height, self.row, self.neighbors
        )
        self.seen_by_queries = self._memory.as_strided(
            (height, width, *window),
            (band, self.neighbors + 1, self.row, 1),
            margin - left,
        )
        # The query at (y + u, x + v) sees (y, x) in row U-1 - u of its window.
        self.seen_by_neighbors = self._memory.as_strided(
            (height, width, *window),
            (band, self.neighbors + 1, band - self.row, self.neighbors),
            (window[0] - 1) * self.row,
        )

    def operands(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors of the products.

        Args:
            x: Scaled features, (N, T, C, H, W).

        Returns:
            Queries (N, T, H, W, C) and the neighbors that they see,
            (N, T, H, C, neighbors), two views of the same padded frames.
        """
        above = self.window[0] // 2
        more = -(-(self.neighbors - self.window[0] * self.row) // self.row)
        padded = F.pad(x, (0, self.row - self.width, above, above + more))
        clip, frame, channel, row, _ = padded.stride()
        seen = padded.as_strided(
            (*x.shape[:2], self.height, x.size(2), self.neighbors),
            (clip, frame, row, channel, 1),
        )
        inside = padded[:, :, :, above : above + self.height]
        return inside.permute(0, 1, 3, 4, 2), seen

    def set_sum(self, by_queries: Tensor | None, by_neighbors: Tensor | None) -> None:
        """Set the products to the sum of the given values from both sides.

        Args:
            by_queries: (H, W, U, V), zero in columns outside the frame.
            by_neighbors: As ``by_queries``.
        """
        self._memory.zero_()
        if by_queries is not None:
            self.seen_by_queries.add_(by_queries)
        if by_neighbors is not None:
            self.seen_by_neighbors.add_(by_neighbors)

    def add_product(self, seen: Tensor, to: Tensor) -> None:
        """Add the product of the bands and ``seen``, (H, C, neighbors), to ``to``."""
        to.baddbmm_(self.products, seen.mT)
