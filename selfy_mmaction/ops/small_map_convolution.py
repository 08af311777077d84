# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Convolution of many maps so small that one dense matrix is faster."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from .derivatives import gradients, needs_plain_operations


def conv2d_small_maps(
    maps: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
) -> Tensor:
    """``torch.nn.functional.conv2d`` as one product with a dense matrix.

    A convolution of maps of a fixed size is a matrix, from all values of a map to all
    values of the result. With a single channel it is small enough for its product to
    beat the convolution of a CPU several times over, though most of it is zeros: the
    first layer of the extraction.

    FLOP counters see the multiply-adds of the convolution. Derivatives other than the
    first backward pass are those of ``torch.nn.functional.conv2d``.

    Args:
        maps: (M, C, U, V).
        weight: (C', C, kernel rows, kernel columns).
        bias: (C',). Default: None.
        stride: Rows and columns. Default: (1, 1).
        padding: Rows and columns of zeros on either side. Default: (0, 0).

    Returns:
        (M, C', U', V').
    """
    if needs_plain_operations():
        return F.conv2d(maps, weight, bias, stride, padding)
    return _conv2d_small_maps(maps, weight, bias, list(stride), list(padding))


def _taps(
    maps: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """Which value of a map each weight meets for each position of the result.

    Returns:
        Zeros and ones, (C * U * V, U' * V', C * kernel size).
    """
    size = math.prod(maps.shape[1:])
    unit_maps = torch.eye(size, dtype=maps.dtype, device=maps.device)
    unit_maps = unit_maps.view(size, *maps.shape[1:])
    return F.unfold(
        unit_maps, weight.shape[2:], padding=tuple(padding), stride=tuple(stride)
    ).mT


def _dense_matrix(taps: Tensor, weight: Tensor) -> Tensor:
    """(C * U * V, C' * U' * V')."""
    return (taps @ weight.flatten(1).mT).mT.flatten(1)


@torch.library.custom_op('selfy_mmaction::conv2d_small_maps', mutates_args=())
def _conv2d_small_maps(
    maps: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
) -> Tensor:
    taps = _taps(maps, weight, stride, padding)
    # Not a view, which autograd would not let an activation change in place.
    out = maps.new_empty(_out_shape(maps, weight, stride, padding))
    torch.mm(maps.flatten(1), _dense_matrix(taps, weight), out=out.flatten(1))
    return out if bias is None else out.add_(bias[:, None, None])


@torch.library.custom_op('selfy_mmaction::conv2d_small_maps_backward', mutates_args=())
def _conv2d_small_maps_backward(
    grad: Tensor,
    maps: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    needs_grad_maps: bool,
) -> tuple[Tensor, Tensor]:
    taps = _taps(maps, weight, stride, padding)
    grad_rows = grad.flatten(1)
    grad_matrix = (maps.flatten(1).mT @ grad_rows).view(len(taps), len(weight), -1)
    grad_weight = torch.einsum('mop,mpk->ok', grad_matrix, taps).view(weight.shape)
    if not needs_grad_maps:
        return maps.new_empty(0), grad_weight
    grad_maps = grad_rows @ _dense_matrix(taps, weight).mT
    return grad_maps.view(maps.shape), grad_weight


def _out_shape(
    maps: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]
) -> tuple[int, ...]:
    sides = (
        (size + 2 * pad - kernel) // step + 1
        for size, kernel, step, pad in zip(
            maps.shape[2:], weight.shape[2:], stride, padding, strict=True
        )
    )
    return maps.shape[0], weight.shape[0], *sides


@_conv2d_small_maps.register_fake
def _(
    maps: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
) -> Tensor:
    return maps.new_empty(_out_shape(maps, weight, stride, padding))


@_conv2d_small_maps_backward.register_fake
def _(
    grad: Tensor,
    maps: Tensor,
    weight: Tensor,
    stride: list[int],
    padding: list[int],
    needs_grad_maps: bool,
) -> tuple[Tensor, Tensor]:
    grad_maps = maps.new_empty(maps.shape if needs_grad_maps else 0)
    return grad_maps, weight.new_empty(weight.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    maps, weight, _, ctx.stride, ctx.padding = inputs
    ctx.save_for_backward(maps, weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    needs_grad_maps, _, needs_grad_bias, *_ = ctx.needs_input_grad
    grad_bias = grad.sum((0, 2, 3)) if needs_grad_bias else None
    if needs_plain_operations() or torch.is_grad_enabled():
        grads = gradients(
            lambda maps, weight: F.conv2d(maps, weight, None, ctx.stride, ctx.padding),
            ctx.saved_tensors,
            ctx.needs_input_grad[:2],
            grad,
        )
        return *grads, grad_bias, None, None
    grad_maps, grad_weight = torch.ops.selfy_mmaction.conv2d_small_maps_backward(
        grad, *ctx.saved_tensors, ctx.stride, ctx.padding, needs_grad_maps
    )
    return grad_maps if needs_grad_maps else None, grad_weight, grad_bias, None, None


_conv2d_small_maps.register_autograd(_backward, setup_context=_setup_context)


# A multiply-add is two operations to torch's counter.
@register_flop_formula(torch.ops.selfy_mmaction.conv2d_small_maps)
def _forward_flop(
    maps_shape: Sequence[int],
    weight_shape: Sequence[int],
    *args: Any,
    out_shape: Sequence[int],
    **kwargs: Any,
) -> int:
    return 2 * math.prod(weight_shape[1:]) * math.prod(out_shape)


@register_flop_formula(torch.ops.selfy_mmaction.conv2d_small_maps_backward)
def _backward_flop(
    grad_shape: Sequence[int],
    maps_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    needs_grad_maps: bool,
    **kwargs: Any,
) -> int:
    sides = 2 if needs_grad_maps else 1
    return sides * 2 * math.prod(weight_shape[1:]) * math.prod(grad_shape)
