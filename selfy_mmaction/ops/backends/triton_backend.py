# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Eq. 1 and its gradients by the kernels of ``triton_kernels``: sizes and launches."""

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


def _sizes(
    feats: Tensor, window: Window, num_segments: int, similarity: str
) -> dict[str, Any]:
    """Constants that both kernels have."""
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
            # TF32 holds half-precision features exactly, and scaled gradients of any
            # size, which float16 would not.
            PRECISION='ieee' if x.dtype == torch.float32 else 'tf32',
            BLOCK_C=block_c,
            num_warps=8,
            **_sizes(x, window, num_segments, similarity),
            **blocks,
        )
    return grad
