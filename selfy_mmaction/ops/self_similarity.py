# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""STSS transformation (Section 3.1, Eq. 1)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from selfy_mmaction.ops import composed, exportable

from .backends import check_backend, choose_backend
from .derivatives import gradients, needs_plain_operations
from .exportable import needs_exportable_operations
from .option_checks import (
    check_choice,
    check_num_segments,
    check_offsets,
    check_positive,
    check_window,
)


def self_similarity(
    feats: Tensor,
    offsets: int | Sequence[int],
    window: int | Sequence[int],
    num_segments: int,
    eps: float = 1e-6,
    similarity: str = 'cosine',
    keys: Tensor | None = None,
    backend: str = 'auto',
) -> Tensor:
    r"""Compute the spatio-temporal self-similarity of video features (Eq. 1).

    .. math::
        S_{t,x,y,l,u,v} = \mathrm{sim}(V_{t,x,y}, V_{t+l,x+u,y+v})

    Positions outside the frame and frames outside the clip count as zeros, so their
    similarities are zero.

    Half-precision features are multiplied and summed in float32, even under autocast.
    Only the features are saved for the backward pass, not the STSS tensor.

    Higher-order and forward-mode derivatives and ``torch.func`` transforms are
    supported. Except for the first backward pass, they use plain PyTorch operations
    (:mod:`~selfy_mmaction.ops.composed`), which are slow and keep L * U * V copies of
    the features.

    Exporters (``torch.export``, ``torch.onnx.export``, ``torch.jit.trace``) see plain
    operations (:mod:`~selfy_mmaction.ops.exportable`), so that the exported file does
    not need this package.

    Args:
        feats: Features, (N*T, C, H, W).
        offsets: Set of temporal offsets ``l``, in frames. A single int is allowed.
        window: Spatial window ``(U, V)``, odd; ``u`` counts rows from
            ``-(U // 2)`` to ``U // 2``, ``v`` counts columns. An int gives a square
            window.
        num_segments: Frames per clip, ``T``.
        eps: Added to the squared norms of the cosine similarity, at least 1.2e-38.
            Default: 1e-6, as in the official code.
        similarity: Default: 'cosine'.

            - 'cosine': The denominator is
              :math:`\sqrt{|a|^2 + \epsilon} \sqrt{|b|^2 + \epsilon}`. Squared norms
              may overflow; with Triton, those beyond float32 result in NaN.
            - 'dot': The product :math:`a \cdot b`, used by the embedded Gaussian of
              supplement Table 3e.
        keys: Features of the neighbors, with the shape and dtype of ``feats``, which
            then holds only the queries (t, x, y). Default: None, ``feats``.
        backend: Implementation of the forward and backward pass. Default: 'auto'.

            - 'torch': Pure PyTorch, on any device.
            - 'triton': Triton kernels, on CUDA devices.
            - 'auto': Triton if it supports the input and passes a test on the device,
              otherwise PyTorch. The choice is logged once, with a warning if a CUDA
              device cannot use Triton.

    Returns:
        The STSS tensor, (N, T, H, W, L, U, V), in the dtype of ``feats``. In float16,
        products beyond 65504 are infinite.

    Raises:
        RuntimeError: If ``backend='triton'`` cannot compute it; lists all reasons.
        ValueError: If ``feats``, ``offsets``, ``window``, ``num_segments``, ``eps``,
            ``similarity``, ``keys`` or ``backend`` is invalid.

    Example:
        >>> import torch
        >>> from selfy_mmaction.ops import self_similarity
        >>> feats = torch.randn(2 * 8, 128, 14, 14)
        >>> stss = self_similarity(feats, (-1, 0, 1), (9, 9), num_segments=8)
        >>> stss.shape  # (N, T, H, W, L, U, V)
        torch.Size([2, 8, 14, 14, 3, 9, 9])
    """
    if (
        not isinstance(feats, Tensor)
        or feats.dim() != 4
        or not feats.is_floating_point()
    ):
        raise ValueError(
            'feats must be floating-point features (N*T, C, H, W), but got '
            f'{_describe(feats)}'
        )
    if keys is not None and (
        not isinstance(keys, Tensor)
        or keys.shape != feats.shape
        or keys.dtype != feats.dtype
        or keys.device != feats.device
    ):
        raise ValueError(
            'keys must have the dtype, shape and device of feats, '
            f'{_describe(feats)}, but got {_describe(keys)}'
        )
    check_choice('similarity', similarity, ('cosine', 'dot'))
    offsets = check_offsets(offsets)
    window = check_window(window)
    check_num_segments(feats.size(0), num_segments)
    eps = check_positive('eps', eps)
    check_backend(backend)

    if needs_plain_operations():
        return composed.self_similarity(
            feats, keys, offsets, window, num_segments, eps, similarity
        )
    if needs_exportable_operations():
        return exportable.self_similarity(
            feats, keys, offsets, window, num_segments, eps, similarity
        )
    return _self_similarity(
        feats, keys, offsets, window, num_segments, eps, similarity, backend
    )


def _describe(x: Any) -> str:
    if not isinstance(x, Tensor):
        return repr(type(x))
    return f'{x.dtype} of shape {tuple(x.shape)} on {x.device}'


# A custom operator rather than an autograd.Function: torch.compile keeps it whole, and
# FLOP counters see the cost of Eq. 1 instead of an implementation. The backend is
# chosen inside the operator, which compilers do not trace.
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
) -> tuple[Tensor, Tensor]:
    # Always tensors, not a list: the fallback for batched gradients requires them.
    chosen = choose_backend(backend, feats, offsets, window)
    grad_feats, grad_keys = chosen.backward(
        grad_stss, feats, keys, offsets, tuple(window), num_segments, eps, similarity
    )
    return grad_feats, feats.new_empty(0) if keys is None else grad_keys


@_self_similarity.register_fake
def _(
    feats: Tensor,
    keys: Tensor | None,
    offsets: Sequence[int],
    window: Sequence[int],
    num_segments: int,
    eps: float,
    similarity: str,
    backend: str,
) -> Tensor:
    frames, _, height, width = feats.shape
    return feats.new_empty(
        frames // num_segments, num_segments, height, width, len(offsets), *window
    )


@_self_similarity_backward.register_fake
def _(
    grad_stss: Tensor, feats: Tensor, keys: Tensor | None, *options: Any
) -> tuple[Tensor, Tensor]:
    keys_shape = (0,) if keys is None else keys.shape
    return feats.new_empty(feats.shape), feats.new_empty(keys_shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    feats, keys, *ctx.options = inputs
    ctx.save_for_backward(feats, keys)


def _backward(ctx: Any, grad_stss: Tensor) -> tuple[Tensor | None, ...]:
    feats, keys = ctx.saved_tensors
    nothing = [None] * len(ctx.options)
    if needs_plain_operations() or torch.is_grad_enabled():
        *options, _ = ctx.options
        grads = gradients(
            lambda feats, keys: composed.self_similarity(feats, keys, *options),
            (feats, keys),
            ctx.needs_input_grad[:2],
            grad_stss,
        )
        return *grads, *nothing
    grad_feats, grad_keys = torch.ops.selfy_mmaction.self_similarity_backward(
        grad_stss, feats, keys, *ctx.options
    )
    return grad_feats, None if keys is None else grad_keys, *nothing


_self_similarity.register_autograd(_backward, setup_context=_setup_context)


# torch's counter counts a multiply-add as two operations.
@register_flop_formula(torch.ops.selfy_mmaction.self_similarity)
def _forward_flop(
    feats_shape: Sequence[int],
    keys_shape: Sequence[int] | None,
    offsets: Sequence[int],
    window: Sequence[int],
    *args: Any,
    **kwargs: Any,
) -> int:
    return 2 * math.prod(feats_shape) * len(offsets) * math.prod(window)


@register_flop_formula(torch.ops.selfy_mmaction.self_similarity_backward)
def _backward_flop(
    grad_shape: Sequence[int],
    feats_shape: Sequence[int],
    keys_shape: Sequence[int] | None,
    *args: Any,
    **kwargs: Any,
) -> int:
    return 2 * _forward_flop(feats_shape, keys_shape, *args)
