# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Eq. 1 in a few plain operations that every exporter knows, for inference.

A matrix product compares each position with all positions of the other frame; a
selection by constant indices keeps those in the window. Up to the shape of the result,
no tensor has more than five dimensions.
"""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .backends.torch_backend import prepare

_keeps_operators = False


def _traces_without_dynamo() -> bool:
    """Tell torch.export from torch.compile, which always uses Dynamo."""
    return torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()


# Added in torch 2.7.
_is_in_torch_export = getattr(torch.compiler, 'is_exporting', _traces_without_dynamo)


def needs_exportable_operations() -> bool:
    """Check whether the network is being exported.

    Returns:
        True during ``torch.export``, ``torch.onnx.export`` and ``torch.jit.trace``, but
        not inside :func:`keeping_operators`. The exported file then needs neither our
        operator nor this package. Before torch 2.7, ``torch.export`` needs
        ``strict=False``, the default since then.
    """
    if _keeps_operators:
        return False
    return (
        _is_in_torch_export()
        # Documented, but not in __all__.
        or torch.jit.is_tracing()  # type: ignore[attr-defined]
        or torch.onnx.is_in_onnx_export()
    )


@contextlib.contextmanager
def keeping_operators() -> Iterator[None]:
    """Keep our operator whole in a trace that is not exported, such as a FLOP count."""
    global _keeps_operators
    before, _keeps_operators = _keeps_operators, True
    try:
        yield
    finally:
        _keeps_operators = before


def self_similarity(
    feats: Tensor,
    keys: Tensor | None,
    offsets: Sequence[int],
    window: Sequence[int],
    num_segments: int,
    eps: float,
    similarity: str,
) -> Tensor:
    """Compute the similarities of each position to its spatio-temporal neighbors.

    The number of clips N may be dynamic; all other sizes become constants. All products
    of two frames, H * W * H * W per offset, are in memory at once.

    Args:
        feats: Features of the positions, (N*T, C, H, W).
        keys: Features of the neighbors. None means ``feats``.
        offsets: Temporal offsets ``l``.
        window: ``(U, V)``.
        num_segments: Frames per clip, ``T``.
        eps: Added to the squared norms.
        similarity: 'cosine' or 'dot'.

    Returns:
        STSS tensor, (N, T, H, W, L, U, V), in the dtype of ``feats``.
    """
    # Sizes are tensors while TorchScript traces.
    length, height, width = int(num_segments), int(feats.size(2)), int(feats.size(3))
    options = (length, eps, similarity)
    queries, _ = prepare(feats, *options, may_inspect=False)
    seen = queries
    if keys is not None:
        seen, _ = prepare(keys, *options, may_inspect=False)
    # Offsets beyond the clip length are outside every clip as well.
    offsets = [max(-length, min(length, offset)) for offset in offsets]
    reach = max(map(abs, offsets))
    # Frames of zeros around the clip, and one position of zeros, which stands for all
    # positions outside the frame.
    seen = F.pad(seen.flatten(3), (0, 1, 0, 0, reach, reach))
    seen = torch.cat([seen[:, reach + i : reach + i + length] for i in offsets], -1)
    # (N*T, HW, C) x (N*T, C, L*(HW+1))
    products = queries.flatten(0, 1).flatten(2).mT @ seen.flatten(0, 1)
    index = torch.tensor(
        _indices(height, width, len(offsets), window).tolist(), device=feats.device
    )
    stss = products.flatten(1).index_select(1, index)
    stss = stss.reshape(-1, length, height, width, len(offsets), *window)
    return stss.to(feats.dtype)


def _indices(
    height: int, width: int, num_offsets: int, window: Sequence[int]
) -> np.ndarray:
    """Return where the values of a frame are in its products, (H*W*L*U*V,)."""
    y, x, offset, u, v = np.ogrid[
        :height,
        :width,
        :num_offsets,
        -(window[0] // 2) : window[0] // 2 + 1,
        -(window[1] // 2) : window[1] // 2 + 1,
    ]
    row, column = y + u, x + v
    is_inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    positions = height * width
    neighbor = np.where(is_inside, row * width + column, positions)
    query = y * width + x
    return ((query * num_offsets + offset) * (positions + 1) + neighbor).ravel()
