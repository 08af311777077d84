# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Eq. 1 in pure PyTorch, for any device.

A row of W queries sees U rows of neighbours. One matrix product gives all products of
the two, a *band* of (W, U * (W+V-1)), of which the windows are a strided view: the
padded frame has its zeros between the rows. Bands are made for one temporal offset at a
time and never kept.

Where the queries are their own neighbours, S(t, x, l, u) = S(t+l, x+u, -l, -u): what
was computed for an offset is read for its opposite, again by strides.
"""

import itertools
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
    mirror_index: int | None  # of the opposite offset, where the pairs serve it too
    frames: slice  # t
    neighbours: slice  # t + l


def _pairs(offsets: Sequence[int], num_segments: int, own: bool) -> Iterator[_Pairs]:
    """What to compute; ``own`` where the queries are their own neighbours."""
    for index, offset in enumerate(offsets):
        mirrored = own and -offset in offsets
        if abs(offset) >= num_segments or (mirrored and offset < 0):
            continue
        start, stop = max(0, -offset), min(num_segments, num_segments - offset)
        yield _Pairs(
            offset=offset,
            index=index,
            mirror_index=offsets.index(-offset) if mirrored else None,
            frames=slice(start, stop),
            neighbours=slice(start + offset, stop + offset),
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
    """Similarities of each position with its spatio-temporal neighbours.

    Args:
        feats: Features of the positions, (N*T, C, H, W).
        keys: Features of their neighbours, in shape and dtype like ``feats``; None
            for ``feats``.
        offsets: Temporal offsets ``l``.
        window: ``(U, V)``.
        num_segments: Frames per clip, ``T``.
        eps: Added to the squared norms.
        similarity: 'cosine' or 'dot'.

    Returns:
        STSS tensor, (N, T, H, W, L, U, V), in the dtype of ``feats``.
    """
    queries, _ = _prepare(feats, num_segments, eps, similarity)
    neighbours = queries
    if keys is not None:
        neighbours, _ = _prepare(keys, num_segments, eps, similarity)
    clips, _, _, height, width = queries.shape
    stss = feats.new_zeros(clips, num_segments, height, width, len(offsets), *window)
    queries = queries.permute(0, 1, 3, 4, 2)  # (N, T, H, W, C)
    seen = _seen_by_rows(neighbours, window)  # (N, T, H, C, U * (W+V-1))
    for pairs in _pairs(offsets, num_segments, own=keys is None):
        rows, cols = queries[:, pairs.frames], seen[:, pairs.neighbours]
        bands = rows.new_empty(*rows.shape[:-1], cols.size(-1))
        with torch.autocast(feats.device.type, enabled=False):
            for position in _frames_of(bands):
                torch.bmm(rows[position], cols[position], out=bands[position])
        values = _windows(bands, window)
        stss[:, pairs.frames, :, :, pairs.index] = values
        if pairs.mirror_index is not None and pairs.offset:
            inside, mirror = _mirrored_zeros(values.shape, values)
            inside.copy_(values)
            stss[:, pairs.neighbours, :, :, pairs.mirror_index] = mirror
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
    """Gradients of :func:`forward` from its inputs alone.

    Args:
        grad_stss: Gradient of the STSS tensor, (N, T, H, W, L, U, V).
        feats: See :func:`forward`; so are all that follow.
        keys: As in the forward pass.
        offsets: As in the forward pass.
        window: As in the forward pass.
        num_segments: As in the forward pass.
        eps: As in the forward pass.
        similarity: As in the forward pass.

    Returns:
        Gradients of ``feats`` and, unless None, of ``keys``.
    """
    queries, query_scale = _prepare(feats, num_segments, eps, similarity)
    neighbours, key_scale = queries, query_scale
    if keys is not None:
        neighbours, key_scale = _prepare(keys, num_segments, eps, similarity)
    seen = _seen_by_rows(neighbours, window)
    seen_back = seen if keys is None else _seen_by_rows(queries, window)
    clips, _, channels, height, width = queries.shape
    shape = (clips, num_segments, height, width, channels)
    grad_queries = queries.new_zeros(shape)
    grad_keys = grad_queries if keys is None else queries.new_zeros(shape)

    def add_products(grad: Tensor, values: Tensor, seen: Tensor) -> None:
        bands = values.new_zeros(*values.shape[:4], seen.size(-1))
        _windows(bands, window).copy_(values)
        with torch.autocast(feats.device.type, enabled=False):
            for position in _frames_of(bands):
                grad[position].baddbmm_(bands[position], seen[position].mT)

    for pairs in _pairs(offsets, num_segments, own=keys is None):
        grad = grad_stss[:, pairs.frames, :, :, pairs.index]
        inside, mirror = _mirrored_zeros(grad.shape, queries)
        inside.copy_(grad)
        if pairs.mirror_index is not None:
            mirror += grad_stss[:, pairs.neighbours, :, :, pairs.mirror_index]
        add_products(grad_queries[:, pairs.frames], inside, seen[:, pairs.neighbours])
        # Frames against themselves: both sides of a pair are in the values already.
        if keys is not None or pairs.offset:
            add_products(
                grad_keys[:, pairs.neighbours], mirror, seen_back[:, pairs.frames]
            )
    grad_feats = _backward_of_prepare(grad_queries, queries, query_scale, feats.dtype)
    if keys is None:
        return grad_feats, None
    return grad_feats, _backward_of_prepare(
        grad_keys, neighbours, key_scale, keys.dtype
    )


def _prepare(
    x: Tensor, num_segments: int, eps: float, similarity: str
) -> tuple[Tensor, Tensor | None]:
    """Features of which the similarities are products, and what they were scaled by.

    Returns:
        (N, T, C, H, W) in float32 at least, and (N, T, 1, H, W) or None.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    x = x.unflatten(0, (-1, num_segments))
    if similarity == 'dot':
        return x, None
    scale = torch.rsqrt(x.square().sum(2, keepdim=True) + eps)
    return x * scale, scale


def _backward_of_prepare(
    grad: Tensor, unit: Tensor, scale: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Gradient of the features, (N*T, C, H, W), from (N, T, H, W, C) of the scaled."""
    grad = grad.permute(0, 1, 4, 2, 3)
    if scale is not None:
        grad = scale * (grad - unit * (unit * grad).sum(2, keepdim=True))
    return grad.flatten(0, 1).to(dtype, memory_format=torch.contiguous_format)


def _frames_of(x: Tensor) -> Iterator[tuple[int, int]]:
    """Clip and frame of each matrix product, (N, t, ...)."""
    return itertools.product(range(x.size(0)), range(x.size(1)))


def _seen_by_rows(x: Tensor, window: Window) -> Tensor:
    """What each row of queries sees, without a copy per row.

    Args:
        x: Features, (N, T, C, H, W).
        window: ``(U, V)``.

    Returns:
        (N, T, H, C, U * (W+V-1)), a view in which rows overlap.
    """
    rows, cols = window[0] // 2, window[1] // 2
    padded = F.pad(x, (cols, cols, rows, rows))
    clip, frame, channel, row, _ = padded.stride()
    return padded.as_strided(
        (*x.shape[:2], x.size(3), x.size(2), window[0] * padded.size(-1)),
        (clip, frame, row, channel, 1),
    )


def _windows(bands: Tensor, window: Window) -> Tensor:
    """View bands by (u, v): query x and neighbour v meet in column x + v.

    Args:
        bands: Contiguous, (N, t, H, W, U * (W+V-1)).
        window: ``(U, V)``.

    Returns:
        View, (N, t, H, W, U, V).
    """
    clip, frame, row, query, _ = bands.stride()
    return bands.as_strided(
        (*bands.shape[:4], *window),
        (clip, frame, row, query + 1, bands.size(-1) // window[0], 1),
    )


def _mirrored_zeros(shape: torch.Size, like: Tensor) -> tuple[Tensor, Tensor]:
    """Zeros that can be seen from both ends of each pair of positions.

    The mirror has at (x + u, -u) what lies at (x, u). Memory around the frame keeps
    what only one of the two can see apart.

    Args:
        shape: (N, t, H, W, U, V).
        like: Tensor of the dtype and device wanted.

    Returns:
        Two views of this shape on the same memory.
    """
    clips, frames, height, width, rows, cols = shape
    padded = like.new_zeros(
        clips, frames, height + rows - 1, width + cols - 1, rows, cols
    )
    top, left = rows // 2, cols // 2
    inside = padded[:, :, top : top + height, left : left + width]
    clip, frame, y, x, u, v = padded.stride()
    # At (y, x, u, v), counted from 0, stands (y + u, x + v, U-1 - u, V-1 - v) of the
    # padded zeros: their first row is y = -(U // 2).
    mirror = padded.as_strided(
        shape,
        (clip, frame, y, x, y - u, x - v),
        (rows - 1) * u + (cols - 1) * v,
    )
    return inside, mirror
