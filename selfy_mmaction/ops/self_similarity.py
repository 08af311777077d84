# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""STSS transformation (Section 3.1, Eq. 1) in pure PyTorch."""

import warnings
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula


def check_offsets(
    offsets: Sequence[int], num_segments: int | None = None
) -> tuple[int, ...]:
    """Check a set of temporal offsets.

    Args:
        offsets: Temporal offsets ``l``, in frames.
        num_segments: Frames per clip ``T``. Given, an offset that lies outside
            every clip is warned of. Default: None.

    Returns:
        The offsets as a tuple of ints, in the order given.

    Raises:
        ValueError: No offset, one that is no integer, or one that is repeated.
    """
    values = tuple(offsets)
    if not values:
        raise ValueError(
            'offsets is empty; give at least one temporal offset, for example '
            'offsets=(-2, -1, 0, 1, 2)'
        )
    if any(isinstance(offset, bool) or offset != int(offset) for offset in values):
        raise ValueError(f'offsets must be integers (frames), but got {values}')
    if len(set(values)) != len(values):
        raise ValueError(f'offsets must differ from one another, but got {values}')
    values = tuple(int(offset) for offset in values)
    if num_segments is not None:
        outside = [offset for offset in values if abs(offset) >= num_segments]
        if outside:
            warnings.warn(
                f'offsets {outside} reach beyond a clip of num_segments='
                f'{num_segments} frames: their similarities are always zero. '
                f'Leave them out, or use clips of more than '
                f'{max(map(abs, outside))} frames.',
                stacklevel=3,
            )
    return values


def check_window(window: Sequence[int]) -> tuple[int, int]:
    """Check the spatial window ``(U, V)``.

    Args:
        window: Height ``U`` and width ``V`` of the matching region.

    Returns:
        ``(U, V)`` as ints.

    Raises:
        ValueError: Not two positive odd integers.
    """
    values = tuple(window) if isinstance(window, Sequence) else (window,)
    if (
        len(values) != 2
        or any(size != int(size) for size in values)
        or any(size < 1 or size % 2 == 0 for size in values)
    ):
        raise ValueError(
            'window must be (U, V), two positive odd numbers such as (9, 9) '
            f'(U = 2 d_U + 1), but got {window}'
        )
    return int(values[0]), int(values[1])


def check_num_segments(num_frames: int, num_segments: int) -> int:
    """Check that a batch of frames is made of whole clips.

    Args:
        num_frames: Size of the first dimension, ``N * T``.
        num_segments: Frames per clip, ``T``.

    Returns:
        The number of clips ``N``.

    Raises:
        ValueError: ``num_frames`` is no multiple of ``num_segments``.
    """
    if num_segments < 1 or num_frames % num_segments:
        raise ValueError(
            f'{num_frames} frames do not divide into clips of num_segments='
            f'{num_segments}; set num_segments to the number of frames that the '
            'pipeline samples per clip (clip_len * num_clips)'
        )
    return num_frames // num_segments


def self_similarity(
    feats: Tensor,
    offsets: Sequence[int],
    window: Sequence[int],
    num_segments: int,
    eps: float = 1e-6,
    similarity: str = 'cosine',
    keys: Tensor | None = None,
) -> Tensor:
    r"""Spatio-temporal self-similarity of a video feature tensor (Eq. 1).

    .. math::
        S_{t,x,y,l,u,v} = \mathrm{sim}(V_{t,x,y}, V_{t+l,x+u,y+v})

    Positions outside the frame and frames outside the clip are zeros, and so are
    their similarities.

    Half-precision features are multiplied and summed in float32, also under
    autocast. Only the features are kept for the backward pass, no volume of
    similarities.

    Args:
        feats: Features, (N*T, C, H, W).
        offsets: Temporal offsets ``l``, in frames; any set.
        window: Spatial window ``(U, V)``, odd; ``u`` counts rows from
            ``-(U // 2)`` to ``U // 2``, ``v`` counts columns.
        num_segments: Frames per clip, ``T``.
        eps: Added to the squared norms of the cosine similarity. Default: 1e-6, as in
            the authors' code.
        similarity: Default: 'cosine'.

            - 'cosine': its denominator is
              :math:`\sqrt{|a|^2 + \epsilon} \sqrt{|b|^2 + \epsilon}`.
            - 'dot': the product :math:`a \cdot b`, of which supplement Table 3e's
              embedded Gaussian is made.
        keys: Features of the neighbours, in shape and dtype like ``feats``, which are
            then those of the queries (t, x, y) alone. Default: None, ``feats``.

    Returns:
        The STSS tensor, (N, T, H, W, L, U, V), in the dtype of ``feats``. Products in
        float16 are infinite beyond 65504.

    Raises:
        ValueError: Unusable ``feats``, ``offsets``, ``window``, ``num_segments``,
            ``similarity`` or ``keys``.

    Example:
        >>> feats = torch.randn(2 * 8, 128, 14, 14)
        >>> self_similarity(feats, (-1, 0, 1), (9, 9), num_segments=8).shape
        torch.Size([2, 8, 14, 14, 3, 9, 9])
    """
    if feats.dim() != 4 or not feats.is_floating_point():
        raise ValueError(
            'feats must be floating-point features (N*T, C, H, W), but got '
            f'{feats.dtype} of shape {tuple(feats.shape)}'
        )
    if keys is not None and (keys.shape != feats.shape or keys.dtype != feats.dtype):
        raise ValueError(
            'keys must have the shape and dtype of feats, '
            f'{feats.dtype} {tuple(feats.shape)}, but got '
            f'{keys.dtype} {tuple(keys.shape)}'
        )
    if similarity not in ('cosine', 'dot'):
        raise ValueError(
            f"similarity must be 'cosine' or 'dot', but got {similarity!r}"
        )
    offsets = check_offsets(offsets)
    window = check_window(window)
    check_num_segments(feats.size(0), num_segments)

    def prepare(x: Tensor) -> Tensor:
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        if similarity == 'cosine':
            x = x * torch.rsqrt(x.square().sum(1, keepdim=True) + eps)
        return x.unflatten(0, (-1, num_segments))

    queries = prepare(feats)
    neighbours = queries if keys is None else prepare(keys)
    return _windowed_products(queries, neighbours, offsets, window).to(feats.dtype)


def _query_frames(num_segments: int, offset: int) -> slice:
    """Frames ``t`` whose neighbour ``t + offset`` lies inside the clip."""
    return slice(max(0, -offset), min(num_segments, num_segments - offset))


def _shift(frames: slice, offset: int) -> slice:
    return slice(frames.start + offset, frames.stop + offset)


def _pad_and_flatten(x: Tensor, window: tuple[int, int]) -> Tensor:
    """(N, T, C, H, W) -> (N, T, C, (H+U-1) * (W+V-1)), zeros around the frame."""
    rows, cols = window[0] // 2, window[1] // 2
    return F.pad(x, (cols, cols, rows, rows)).flatten(-2)


def _relative_view(volume: Tensor, size: tuple[int, int], window) -> Tensor:
    """View all-pairs products by offset instead of by position.

    Query (y, x) sits in row ``y * W + x``; its neighbour (u, v) sits in column
    ``(y + u) * padded_width + x + v`` of the padded frame: both are linear in
    (y, x, u, v), so the window is a strided view, without a copy.

    Args:
        volume: Contiguous products, (N, t, H*W, (H+U-1) * (W+V-1)).
        size: ``(H, W)``.
        window: ``(U, V)``.

    Returns:
        View of ``volume``, (N, t, H, W, U, V).
    """
    (height, width), (rows, cols) = size, window
    padded_width = width + cols - 1
    clip_stride, frame_stride, query_stride, _ = volume.stride()
    return volume.as_strided(
        (*volume.shape[:2], height, width, rows, cols),
        (
            clip_stride,
            frame_stride,
            width * query_stride + padded_width,
            query_stride + 1,
            padded_width,
            1,
        ),
    )


# A custom operator rather than an autograd.Function, so that torch.compile takes it
# in one piece and FLOP counters see what Eq. 1 needs, not how it is computed.
@torch.library.custom_op('selfy_mmaction::windowed_products', mutates_args=())
def _windowed_products(
    queries: Tensor, keys: Tensor, offsets: Sequence[int], window: Sequence[int]
) -> Tensor:
    """Inner products of each position with its spatio-temporal neighbours.

    One matrix product per offset gives all pairs of two frames, of which the
    window is read by strides; the volume is freed at once.

    Args:
        queries: Features of the positions, (N, T, C, H, W).
        keys: Features of their neighbours, (N, T, C, H, W).
        offsets: Temporal offsets ``l``.
        window: ``(U, V)``.

    Returns:
        Products, (N, T, H, W, L, U, V).
    """
    clips, num_segments, _, height, width = queries.shape
    stss = queries.new_zeros(clips, num_segments, height, width, len(offsets), *window)
    queries = queries.flatten(-2).transpose(-1, -2)
    keys = _pad_and_flatten(keys, window)
    for index, offset in enumerate(offsets):
        frames = _query_frames(num_segments, offset)
        if frames.start >= frames.stop:
            continue
        with torch.autocast(queries.device.type, enabled=False):
            volume = queries[:, frames] @ keys[:, _shift(frames, offset)]
        stss[:, frames, :, :, index] = _relative_view(volume, (height, width), window)
    return stss


@torch.library.custom_op('selfy_mmaction::windowed_products_backward', mutates_args=())
def _windowed_products_backward(
    grad_stss: Tensor,
    queries: Tensor,
    keys: Tensor,
    offsets: Sequence[int],
    window: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`_windowed_products`, one volume at a time."""
    _, num_segments, _, height, width = queries.shape
    queries = queries.flatten(-2)
    keys = _pad_and_flatten(keys, window)
    grad_queries = queries.new_zeros(queries.shape)
    grad_keys = keys.new_zeros(keys.shape)
    for index, offset in enumerate(offsets):
        frames = _query_frames(num_segments, offset)
        if frames.start >= frames.stop:
            continue
        neighbours = _shift(frames, offset)
        grad_volume = keys.new_zeros(
            keys.size(0), frames.stop - frames.start, height * width, keys.size(-1)
        )
        _relative_view(grad_volume, (height, width), window).copy_(
            grad_stss[:, frames, :, :, index]
        )
        with torch.autocast(keys.device.type, enabled=False):
            grad_queries[:, frames] += keys[:, neighbours] @ grad_volume.mT
            grad_keys[:, neighbours] += queries[:, frames] @ grad_volume
    rows, cols = window[0] // 2, window[1] // 2
    grad_keys = grad_keys.unflatten(-1, (height + 2 * rows, width + 2 * cols))
    grad_keys = grad_keys[..., rows : rows + height, cols : cols + width]
    return grad_queries.unflatten(-1, (height, width)), grad_keys.contiguous()


@_windowed_products.register_fake
def _(queries, keys, offsets, window):
    clips, num_segments, _, height, width = queries.shape
    return queries.new_empty(clips, num_segments, height, width, len(offsets), *window)


@_windowed_products_backward.register_fake
def _(grad_stss, queries, keys, offsets, window):
    return queries.new_empty(queries.shape), keys.new_empty(keys.shape)


def _setup_context(ctx, inputs, output):
    queries, keys, ctx.offsets, ctx.window = inputs
    ctx.save_for_backward(queries, keys)


def _backward(ctx, grad_stss):
    grad_queries, grad_keys = torch.ops.selfy_mmaction.windowed_products_backward(
        grad_stss, *ctx.saved_tensors, ctx.offsets, ctx.window
    )
    return grad_queries, grad_keys, None, None


_windowed_products.register_autograd(_backward, setup_context=_setup_context)


# A multiply-add is two operations to torch's counter.
@register_flop_formula(torch.ops.selfy_mmaction.windowed_products)
def _forward_flop(queries_shape, keys_shape, offsets, window, **kwargs) -> int:
    clips, num_segments, channels, height, width = queries_shape
    values = (
        clips * num_segments * height * width * len(offsets) * window[0] * window[1]
    )
    return 2 * channels * values


@register_flop_formula(torch.ops.selfy_mmaction.windowed_products_backward)
def _backward_flop(
    grad_shape, queries_shape, keys_shape, offsets, window, **kwargs
) -> int:
    return 2 * _forward_flop(queries_shape, keys_shape, offsets, window)
