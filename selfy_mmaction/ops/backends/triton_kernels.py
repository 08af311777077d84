# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Triton kernels for Eq. 1: one for the values, one for the gradients.

Each program handles 4 x 16 positions of one frame and loops over the neighbor rows that
they see in another frame, two at a time. One small matrix product computes all products
between them; the windows are a diagonal band of it. Features are read in place with any
strides, and norms are computed per tile. Only the result is written, each value by one
program, so runs are bitwise reproducible.

Why 4 rows: at 14x14 with a 9x9 window, programs of 1 row read 106 neighbor rows per
pair of frames, programs of 4 rows 36, and programs of 8 rows 22, but 8 rows lose as
much again to products outside every window.
"""

# Kernel constants are capitalized, as in Eq. 1.
# ruff: noqa: N803, N806

import triton
import triton.language as tl


@triton.jit
def _element(values: tl.constexpr, index):
    """Index a compile-time tuple with a runtime index."""
    found = -1
    for i in tl.static_range(len(values)):
        found = tl.where(index == i, values[i], found)
    return found


@triton.jit
def _inverse_norm(squares, eps):
    """Return NaN if the squares overflow: a zero would look like a similarity."""
    return tl.where(squares == float('inf'), float('nan'), tl.rsqrt(squares + eps))


@triton.jit
def forward_kernel(
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
    """Write the similarities of one tile of queries for one temporal offset."""
    L: tl.constexpr = len(OFFSETS)
    TILES_X: tl.constexpr = tl.cdiv(W, BLOCK_X)
    TILES_Y: tl.constexpr = tl.cdiv(H, BLOCK_Y)
    # Neighboring programs read the same queries and write the same cache lines.
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

    # The V columns that a query sees are consecutive, so they differ modulo BLOCK_K.
    # Columns outside the frame take the slots of columns that the query does not see,
    # and one store writes both products and zeros.
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
                if C > BLOCK_C:  # otherwise already loaded
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
def backward_kernel(
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
    AS_QUERY: tl.constexpr,  # index in L where feats are the queries, or -1
    AS_KEY: tl.constexpr,  # index in L where feats are the keys, or -1
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
    """Write the gradient of one tile of features, summed over all pairs of frames."""
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

    # The address of the gradient of (query, key) is the sum of one term from the query
    # and one from the key, in both roles.
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
                # Read with the position last: gradients are contiguous along it here.
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
