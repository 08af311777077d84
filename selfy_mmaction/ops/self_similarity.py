# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""STSS transformation (Section 3.1, Eq. 1)."""

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from .backends import check_backend, choose_backend


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
    backend: str = 'auto',
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
        backend: What computes them, and their gradients. Default: 'auto'.

            - 'torch': pure PyTorch, on any device.
            - 'triton': Triton kernels, on CUDA devices.
            - 'auto': Triton where it can, after a test on that very device, otherwise
              PyTorch. Logs once what it takes, and as a warning why a CUDA device
              has to do without Triton.

    Returns:
        The STSS tensor, (N, T, H, W, L, U, V), in the dtype of ``feats``. Products in
        float16 are infinite beyond 65504.

    Raises:
        RuntimeError: ``backend='triton'`` cannot compute it. All reasons are named.
        ValueError: Unusable ``feats``, ``offsets``, ``window``, ``num_segments``,
            ``similarity``, ``keys`` or ``backend``.

    Example:
        >>> import torch
        >>> from selfy_mmaction.ops import self_similarity
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
    check_backend(backend)

    return _self_similarity(
        feats, keys, offsets, window, num_segments, eps, similarity, backend
    )


# A custom operator rather than an autograd.Function, so that torch.compile takes it
# in one piece and FLOP counters see what Eq. 1 needs, not how it is computed. The
# backend is chosen inside, by its name, where no compiler looks.
@torch.library.custom_op('selfy_mmaction::self_similarity', mutates_args=())
def _self_similarity(
    feats: Tensor,
    keys: Tensor | None,
    offsets: Sequence[int],
    window: Sequence[int],
    num_segments: int,
    eps: float,
    similarity: str,
    backend: str,
) -> Tensor:
    return choose_backend(backend, feats, offsets, window).forward(
        feats, keys, offsets, tuple(window), num_segments, eps, similarity
    )


@torch.library.custom_op('selfy_mmaction::self_similarity_backward', mutates_args=())
def _self_similarity_backward(
    grad_stss: Tensor,
    feats: Tensor,
    keys: Tensor | None,
    offsets: Sequence[int],
    window: Sequence[int],
    num_segments: int,
    eps: float,
    similarity: str,
    backend: str,
) -> list[Tensor]:
    chosen = choose_backend(backend, feats, offsets, window)
    grad_feats, grad_keys = chosen.backward(
        grad_stss, feats, keys, offsets, tuple(window), num_segments, eps, similarity
    )
    return [grad_feats] if keys is None else [grad_feats, grad_keys]


@_self_similarity.register_fake
def _(feats, keys, offsets, window, num_segments, eps, similarity, backend):
    frames, _, height, width = feats.shape
    return feats.new_empty(
        frames // num_segments, num_segments, height, width, len(offsets), *window
    )


@_self_similarity_backward.register_fake
def _(grad_stss, feats, keys, *options):
    grads = [feats.new_empty(feats.shape)]
    return grads if keys is None else [*grads, keys.new_empty(keys.shape)]


def _setup_context(ctx, inputs, output):
    feats, keys, *ctx.options = inputs
    ctx.save_for_backward(feats, keys)


def _backward(ctx, grad_stss):
    feats, keys = ctx.saved_tensors
    grads = torch.ops.selfy_mmaction.self_similarity_backward(
        grad_stss, feats, keys, *ctx.options
    )
    grad_keys = None if keys is None else grads[1]
    return grads[0], grad_keys, *([None] * len(ctx.options))


_self_similarity.register_autograd(_backward, setup_context=_setup_context)


# A multiply-add is two operations to torch's counter.
@register_flop_formula(torch.ops.selfy_mmaction.self_similarity)
def _forward_flop(feats_shape, keys_shape, offsets, window, *args, **kwargs) -> int:
    return 2 * math.prod(feats_shape) * len(offsets) * math.prod(window)


@register_flop_formula(torch.ops.selfy_mmaction.self_similarity_backward)
def _backward_flop(grad_shape, feats_shape, keys_shape, *args, **kwargs) -> int:
    return 2 * _forward_flop(feats_shape, keys_shape, *args)
