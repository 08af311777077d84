# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Launches of ``triton_kernels`` for Eq. 1 and its gradients."""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime.interpreter import InterpretedFunction

from .triton_kernels import backward_kernel, forward_kernel

Window = tuple[int, int]


def is_interpreted() -> bool:
    """Check whether kernels run in Triton's interpreter, which takes any device.

    Triton reads ``TRITON_INTERPRET=1`` when it is imported.
    """
    return isinstance(tl.cdiv, InterpretedFunction)


_TYPES = {
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
    torch.float32: tl.float32,
}
# Rows and columns of a tile of positions. A row of 14 leaves only two columns unused.
_BLOCK_Y, _BLOCK_X = 4, 16


def _blocks(width: int, window: Window) -> dict[str, int]:
    """Return the tile sizes; the neighbor columns are those that a query row sees."""
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


def _sizes(
    feats: Tensor, window: Window, num_segments: int, similarity: str
) -> dict[str, Any]:
    """Return the constants shared by both kernels."""
    _, channels, height, width = feats.shape
    u, v = window
    return dict(
        T=num_segments,
        C=channels,
        H=height,
        W=width,
        U=u,
        V=v,
        COSINE=similarity == 'cosine',
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
        feats: Features of the positions, (N*T, C, H, W), in float16, bfloat16 or
            float32.
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
    keys = feats if keys is None else keys
    frames, channels, height, width = feats.shape
    stss = feats.new_empty(
        frames // num_segments, num_segments, height, width, len(offsets), *window
    )
    blocks = _blocks(width, window)
    # Float32 products go through registers and spill from 64 channels on.
    largest = 32 if feats.dtype == torch.float32 else 256
    dot_type = _TYPES[feats.dtype]
    if dot_type == tl.bfloat16 and is_interpreted():
        dot_type = tl.float32  # the interpreter is numpy, which has no bfloat16
    with torch.cuda.device_of(feats):
        forward_kernel[(frames * _tiles(height, width, blocks) * len(offsets),)](
            feats,
            keys,
            stss,
            feats.stride(0),
            keys.stride(0),
            eps,
            FEATS_STRIDES=feats.stride()[1:],
            KEYS_STRIDES=keys.stride()[1:],
            OFFSETS=tuple(offsets),
            DOT_TYPE=dot_type,
            BLOCK_C=min(largest, max(16, triton.next_power_of_2(channels))),
            **_sizes(feats, window, num_segments, similarity),
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
    # If the set also has the opposite offset, a pair of positions occurs in both roles;
    # its products are weighted by both gradients at once.
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
    """Compute the gradient of ``x``, (N*T, C, H, W), paired with ``others``."""
    frames, channels, height, width = x.shape
    grad = x.new_empty(x.shape)
    block_c = max(16, triton.next_power_of_2(channels))
    blocks = _blocks(width, window)
    # As many sums as 256 threads hold in registers.
    blocks['BLOCK_Y'] = max(1, min(_BLOCK_Y, 8192 // (block_c * _BLOCK_X)))
    with torch.cuda.device_of(x):
        backward_kernel[(frames * _tiles(height, width, blocks),)](
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
            # TF32 represents half-precision features exactly and, unlike float16,
            # scaled gradients of any magnitude.
            PRECISION='ieee' if x.dtype == torch.float32 else 'tf32',
            BLOCK_C=block_c,
            num_warps=8,
            **_sizes(x, window, num_segments, similarity),
            **blocks,
        )
    return grad
