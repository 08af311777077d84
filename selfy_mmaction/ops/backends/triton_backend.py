# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Eq. 1 as Triton kernels: one for the values, one for gradients.

A program has 4 x 16 positions of one frame and goes through the rows of neighbors that
they see in another, two at a time. One small matrix product gives all products of the
two, of which the windows are a diagonal band. Features are read where they lie,
whatever their strides; norms are taken of the tile at hand, and nothing but the result
is written, each value by one program: runs repeat bit for bit.

Why 4 rows: at 14x14 and a window of 9x9, programs of one row read 106 rows of
neighbors for each pair of frames, programs of 4 rows 36, and of 8 rows 22, but these
waste as much on products that no window holds.
"""

# Constants of a kernel are written in capitals, as in Eq. 1.
# ruff: noqa: N803, N806

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime.interpreter import InterpretedFunction

Window = tuple[int, int]


@triton.jit
def _element(values: tl.constexpr, index):
    """Element of a tuple that the compiler knows, at an index that it does not."""
    found = -1
    for i in tl.static_range(len(values)):
        found = tl.where(index == i, values[i], found)
    return found


@triton.jit
def _inverse_norm(squares, eps):
    """NaN where the squares overflow: a zero would look like a similarity."""
    return tl.where(squares == float('inf'), float('nan'), tl.rsqrt(squares + eps))


@triton.jit
def _forward_kernel(
    feats,
    keys,
    stss,
    feats_stride_frame,
    keys_stride_frame,
    eps,
    FEATS_STRIDES: tl.constexpr,  # of channel, row and column
    KEYS_STRIDES: tl.constexpr,
    OFFSETS: tl.constexpr,
    T: tl.constexpr,
    C: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    U: tl.constexpr,
    V: tl.constexpr,
    COSINE: tl.constexpr,
    DOT_TYPE: tl.constexpr,
    BLOCK_Y: tl.constexpr,
    BLOCK_X: tl.constexpr,
    BLOCK_U: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    L: tl.constexpr = len(OFFSETS)
    TILES_X: tl.constexpr = tl.cdiv(W, BLOCK_X)
    TILES_Y: tl.constexpr = tl.cdiv(H, BLOCK_Y)
    # Programs next to one another read the same queries and write the same lines.
    index = tl.program_id(0) % L
    tile = tl.program_id(0) // L
    x0 = tile % TILES_X * BLOCK_X
    y0 = tile // TILES_X % TILES_Y * BLOCK_Y
    frame = (tile // (TILES_X * TILES_Y)).to(tl.int64)
    offset = _element(OFFSETS, index)
    in_clip = (frame % T + offset >= 0) & (frame % T + offset < T)

    channel = tl.arange(0, BLOCK_C)
    query = tl.arange(0, BLOCK_Y * BLOCK_X)
    query_y, query_x = y0 + query // BLOCK_X, x0 + query % BLOCK_X
    is_query = (query_y < H) & (query_x < W)
    feats += frame * feats_stride_frame
    feats += query_y.to(tl.int64) * FEATS_STRIDES[1]
    feats += query_x.to(tl.int64) * FEATS_STRIDES[2]
    squares = tl.zeros((BLOCK_Y * BLOCK_X,), tl.float32)
    for start in tl.static_range(0, C, BLOCK_C):
        queries = tl.load(
            feats[:, None] + ((channel + start).to(tl.int64) * FEATS_STRIDES[0])[None],
            mask=is_query[:, None] & (channel + start < C)[None],
            other=0,
        )
        squares += tl.sum(queries.to(tl.float32) * queries.to(tl.float32), 1)
    query_scale = _inverse_norm(squares, eps).reshape(BLOCK_Y, BLOCK_X, 1, 1)

    # A query sees V columns one after another, of which no two have the same remainder
    # by BLOCK_K: those outside the frame take the places of columns it does not see,
    # so that one store writes products and zeros.
    left = tl.maximum(x0 - V // 2, 0)
    key = tl.arange(0, BLOCK_U * BLOCK_K)
    key_x = left + key % BLOCK_K
    keys += (frame + offset) * keys_stride_frame
    keys += key_x.to(tl.int64) * KEYS_STRIDES[2]
    y = y0 + tl.arange(0, BLOCK_Y)[:, None, None, None]
    x = x0 + tl.arange(0, BLOCK_X)[None, :, None, None]
    row = tl.arange(0, BLOCK_U)[None, None, :, None]
    column = left + tl.arange(0, BLOCK_K)[None, None, None, :]
    v = (column - x + V // 2) & (BLOCK_K - 1)
    in_row = (v == column - x + V // 2) & (column < W)
    is_value = (y < H) & (x < W) & (v < V)
    stss += frame * (H * W * L * U * V) + index * (U * V)
    place = (y * W + x) * (L * U * V) + (row - y + U // 2) * V + v

    for top in range(y0 - U // 2, tl.minimum(y0 + BLOCK_Y, H) + U // 2, BLOCK_U):
        values = tl.zeros((BLOCK_Y, BLOCK_X, BLOCK_U, BLOCK_K), tl.float32)
        if in_clip & (top + BLOCK_U > 0) & (top < H):
            key_y = top + key // BLOCK_K
            is_key = (key_y >= 0) & (key_y < H) & (key_x < W)
            products = tl.zeros((BLOCK_Y * BLOCK_X, BLOCK_U * BLOCK_K), tl.float32)
            key_squares = tl.zeros((BLOCK_U * BLOCK_K,), tl.float32)
            for start in tl.static_range(0, C, BLOCK_C):
                if C > BLOCK_C:  # otherwise they are here already
                    queries = tl.load(
                        feats[:, None]
                        + ((channel + start).to(tl.int64) * FEATS_STRIDES[0])[None],
                        mask=is_query[:, None] & (channel + start < C)[None],
                        other=0,
                    )
                neighbors = tl.load(
                    (keys + key_y.to(tl.int64) * KEYS_STRIDES[1])[None]
                    + ((channel + start).to(tl.int64) * KEYS_STRIDES[0])[:, None],
                    mask=(channel + start < C)[:, None] & is_key[None],
                    other=0,
                )
                key_squares += tl.sum(
                    neighbors.to(tl.float32) * neighbors.to(tl.float32), 0
                )
                products = tl.dot(
                    queries.to(DOT_TYPE),
                    neighbors.to(DOT_TYPE),
                    products,
                    input_precision='ieee',
                )
            values = products.reshape(BLOCK_Y, BLOCK_X, BLOCK_U, BLOCK_K)
            if COSINE:
                key_scale = _inverse_norm(key_squares, eps)
                values *= key_scale.reshape(1, 1, BLOCK_U, BLOCK_K)
                values *= query_scale
            in_frame = in_row & (row + top >= 0) & (row + top < H)
            values = tl.where(in_frame, values, 0.0)
        u = row + top - y + U // 2
        tl.store(
            stss + top * V + place,
            values.to(stss.dtype.element_ty),
            mask=is_value & (u >= 0) & (u < U),
        )


@triton.jit
def _backward_kernel(
    grad_stss,
    feats,
    keys,
    grad_feats,
    grad_stride_clip,
    grad_stride_frame,
    grad_stride_y,
    grad_stride_x,
    grad_stride_l,
    grad_stride_u,
    grad_stride_v,
    feats_stride_frame,
    keys_stride_frame,
    eps,
    FEATS_STRIDES: tl.constexpr,  # of channel, row and column
    KEYS_STRIDES: tl.constexpr,
    SHIFTS: tl.constexpr,  # from frames of feats to those of keys
    AS_QUERY: tl.constexpr,  # where in L feats are the queries of the pair, or -1
    AS_KEY: tl.constexpr,  # where they are the keys
    T: tl.constexpr,
    C: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    U: tl.constexpr,
    V: tl.constexpr,
    COSINE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_Y: tl.constexpr,
    BLOCK_X: tl.constexpr,
    BLOCK_U: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    TILES_X: tl.constexpr = tl.cdiv(W, BLOCK_X)
    TILES_Y: tl.constexpr = tl.cdiv(H, BLOCK_Y)
    x0 = tl.program_id(0) % TILES_X * BLOCK_X
    y0 = tl.program_id(0) // TILES_X % TILES_Y * BLOCK_Y
    frame = (tl.program_id(0) // (TILES_X * TILES_Y)).to(tl.int64)
    t = frame % T

    channel = tl.arange(0, BLOCK_C)
    position = tl.arange(0, BLOCK_Y * BLOCK_X)
    y = (y0 + position // BLOCK_X).to(tl.int64)
    x = (x0 + position % BLOCK_X).to(tl.int64)
    inside = (y < H) & (x < W)
    key = tl.arange(0, BLOCK_U * BLOCK_K)
    key_x = (tl.maximum(x0 - V // 2, 0) + key % BLOCK_K).to(tl.int64)
    v = key_x[None] - x[:, None] + V // 2
    sees_column = inside[:, None] & (key_x < W)[None] & (v >= 0) & (v < V)

    # Where the gradient of (query, key) lies is a sum of what the query and what the
    # key says, for both roles.
    grad_stss += frame // T * grad_stride_clip
    from_query = y * (grad_stride_y - grad_stride_u) + x * (
        grad_stride_x - grad_stride_v
    )
    from_key = y * grad_stride_u + x * grad_stride_v
    center = U // 2 * grad_stride_u + V // 2 * grad_stride_v

    grad = tl.zeros((BLOCK_Y * BLOCK_X, BLOCK_C), tl.float32)
    for i in range(len(SHIFTS)):
        shift = _element(SHIFTS, i)
        as_query = _element(AS_QUERY, i)
        as_key = _element(AS_KEY, i)
        if (t + shift >= 0) & (t + shift < T):
            queries_at = grad_stss + t * grad_stride_frame + as_query * grad_stride_l
            keys_at = grad_stss + (t + shift) * grad_stride_frame
            keys_at += as_key * grad_stride_l
            for top in range(
                tl.maximum(y0 - U // 2, 0),
                tl.minimum(tl.minimum(y0 + BLOCK_Y, H) + U // 2, H),
                BLOCK_U,
            ):
                key_y = (top + key // BLOCK_K).to(tl.int64)
                u = key_y[None] - y[:, None] + U // 2
                is_pair = sees_column & (key_y < H)[None] & (u >= 0) & (u < U)
                other_as_key = key_y * grad_stride_u + key_x * grad_stride_v
                other_as_query = key_y * (grad_stride_y - grad_stride_u) + key_x * (
                    grad_stride_x - grad_stride_v
                )
                weights = tl.load(
                    queries_at + center + from_query[:, None] + other_as_key[None],
                    mask=is_pair & (as_query >= 0),
                    other=0,
                ).to(tl.float32)
                # Read with the position last, along which the gradients lie here.
                weights += tl.trans(
                    tl.load(
                        keys_at + center + other_as_query[:, None] + from_key[None],
                        mask=tl.trans(is_pair) & (as_key >= 0),
                        other=0,
                    ).to(tl.float32)
                )
                is_key = (key_y < H) & (key_x < W)
                place = key_y * KEYS_STRIDES[1] + key_x * KEYS_STRIDES[2]
                neighbors = tl.load(
                    keys
                    + (frame + shift) * keys_stride_frame
                    + place[:, None]
                    + (channel.to(tl.int64) * KEYS_STRIDES[0])[None],
                    mask=is_key[:, None] & (channel < C)[None],
                    other=0,
                ).to(tl.float32)
                if COSINE:
                    squares = tl.sum(neighbors * neighbors, 1)
                    scale = tl.where(is_key, _inverse_norm(squares, eps), 0.0)
                    weights *= scale[None]
                grad = tl.dot(weights, neighbors, grad, input_precision=PRECISION)

    is_feature = inside[:, None] & (channel < C)[None]
    if COSINE:
        place = y * FEATS_STRIDES[1] + x * FEATS_STRIDES[2]
        own = tl.load(
            feats
            + frame * feats_stride_frame
            + place[:, None]
            + (channel.to(tl.int64) * FEATS_STRIDES[0])[None],
            mask=is_feature,
            other=0,
        ).to(tl.float32)
        scale = _inverse_norm(tl.sum(own * own, 1), eps)[:, None]
        own *= scale
        grad = scale * (grad - own * tl.sum(own * grad, 1)[:, None])
    tl.store(
        grad_feats
        + frame * (C * H * W)
        + (y * W + x)[:, None]
        + (channel.to(tl.int64) * (H * W))[None],
        grad.to(grad_feats.dtype.element_ty),
        mask=is_feature,
    )


def is_interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, for tensors on any device.

    Triton decides that when it is imported, by ``TRITON_INTERPRET=1``.
    """
    return isinstance(tl.cdiv, InterpretedFunction)


_TYPES = {
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
    torch.float32: tl.float32,
}
# Positions of a tile: rows, and columns, of which a row of 14 fills all but two.
_BLOCK_Y, _BLOCK_X = 4, 16


def _blocks(width: int, window: Window) -> dict[str, int]:
    """Sizes of tiles, of which those of neighbors are what a row of queries sees."""
    columns = max(16, window[1], min(width, _BLOCK_X + window[1] - 1))
    columns = triton.next_power_of_2(columns)
    return dict(
        BLOCK_Y=_BLOCK_Y,
        BLOCK_X=_BLOCK_X,
        BLOCK_U=max(1, 32 // columns),
        BLOCK_K=columns,
    )


def _tiles(height: int, width: int, blocks: dict[str, int]) -> int:
    return triton.cdiv(height, blocks['BLOCK_Y']) * triton.cdiv(width, _BLOCK_X)


def forward(
    feats: Tensor,
    keys: Tensor | None,
    offsets: Sequence[int],
    window: Window,
    num_segments: int,
    eps: float,
    similarity: str,
) -> Tensor:
    """Similarities of each position with its spatio-temporal neighbors.

    Args:
        feats: Features of the positions, (N*T, C, H, W), in float16, bfloat16 or
            float32.
        keys: Features of their neighbors, in shape and dtype like ``feats``; None
            for ``feats``.
        offsets: Temporal offsets ``l``.
        window: ``(U, V)``.
        num_segments: Frames per clip, ``T``.
        eps: Added to the squared norms.
        similarity: 'cosine' or 'dot'.

    Returns:
        STSS tensor, (N, T, H, W, L, U, V), in the dtype of ``feats``.
    """
    keys = feats if keys is None else keys
    frames, channels, height, width = feats.shape
    stss = feats.new_empty(
        frames // num_segments, num_segments, height, width, len(offsets), *window
    )
    blocks = _blocks(width, window)
    # Products in float32 go through registers: of 64 channels and more they spill.
    largest = 32 if feats.dtype == torch.float32 else 256
    dot_type = _TYPES[feats.dtype]
    if dot_type == tl.bfloat16 and is_interpreted():
        dot_type = tl.float32  # the interpreter is numpy, which has no bfloat16
    with torch.cuda.device_of(feats):
        _forward_kernel[(frames * _tiles(height, width, blocks) * len(offsets),)](
            feats,
            keys,
            stss,
            feats.stride(0),
            keys.stride(0),
            eps,
            FEATS_STRIDES=feats.stride()[1:],
            KEYS_STRIDES=keys.stride()[1:],
            OFFSETS=tuple(offsets),
            T=num_segments,
            C=channels,
            H=height,
            W=width,
            U=window[0],
            V=window[1],
            COSINE=similarity == 'cosine',
            DOT_TYPE=dot_type,
            BLOCK_C=min(largest, max(16, triton.next_power_of_2(channels))),
            **blocks,
        )
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
    offsets = tuple(offsets)
    nowhere = (-1,) * len(offsets)
    places = tuple(range(len(offsets)))

    def gradient(x: Tensor, others: Tensor, **pairs: tuple[int, ...]) -> Tensor:
        return _gradient(
            grad_stss, x, others, window, num_segments, eps, similarity, pairs
        )

    if keys is not None:
        opposite = tuple(-offset for offset in offsets)
        return (
            gradient(feats, keys, SHIFTS=offsets, AS_QUERY=places, AS_KEY=nowhere),
            gradient(keys, feats, SHIFTS=opposite, AS_QUERY=nowhere, AS_KEY=places),
        )
    # A pair of positions meets in both roles where the set has the opposite offset
    # too: its products are weighed by both gradients at once.
    shifts = tuple(dict.fromkeys([*offsets, *(-offset for offset in offsets)]))

    def place(offset: int) -> int:
        return offsets.index(offset) if offset in offsets else -1

    grad = gradient(
        feats,
        feats,
        SHIFTS=shifts,
        AS_QUERY=tuple(place(shift) for shift in shifts),
        AS_KEY=tuple(place(-shift) for shift in shifts),
    )
    return grad, None


def _gradient(
    grad_stss: Tensor,
    x: Tensor,
    others: Tensor,
    window: Window,
    num_segments: int,
    eps: float,
    similarity: str,
    pairs: dict[str, tuple[int, ...]],
) -> Tensor:
    """Gradient of ``x``, (N*T, C, H, W), which meets ``others`` in ``pairs``."""
    frames, channels, height, width = x.shape
    grad = x.new_empty(x.shape)
    block_c = max(16, triton.next_power_of_2(channels))
    blocks = _blocks(width, window)
    # As many sums as 256 threads hold in registers.
    blocks['BLOCK_Y'] = max(1, min(_BLOCK_Y, 8192 // (block_c * _BLOCK_X)))
    with torch.cuda.device_of(x):
        _backward_kernel[(frames * _tiles(height, width, blocks),)](
            grad_stss,
            x,
            others,
            grad,
            *grad_stss.stride(),
            x.stride(0),
            others.stride(0),
            eps,
            FEATS_STRIDES=x.stride()[1:],
            KEYS_STRIDES=others.stride()[1:],
            **pairs,
            T=num_segments,
            C=channels,
            H=height,
            W=width,
            U=window[0],
            V=window[1],
            COSINE=similarity == 'cosine',
            # TF32 holds half-precision features exactly, and scaled gradients of any
            # size, which float16 would not.
            PRECISION='ieee' if x.dtype == torch.float32 else 'tf32',
            BLOCK_C=block_c,
            num_warps=8,
            **blocks,
        )
    return grad
