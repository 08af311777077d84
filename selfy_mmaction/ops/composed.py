# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Eq. 1 in plain PyTorch operations, for derivatives that the operator lacks."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .backends.torch_backend import prepare


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
    # Under transforms and compilers, values cannot steer the control flow.
    options = (num_segments, eps, similarity)
    queries, _ = prepare(feats, *options, may_inspect=False)
    if keys is None:
        keys = queries
    else:
        keys, _ = prepare(keys, *options, may_inspect=False)
    length, _, height, width = queries.shape[1:]
    # Offsets beyond the clip length are outside every clip as well.
    offsets = [max(-length, min(length, offset)) for offset in offsets]
    reach, rows, cols = max(map(abs, offsets)), window[0] // 2, window[1] // 2
    keys = F.pad(keys, (cols, cols, rows, rows, 0, 0, reach, reach))
    values = [
        (
            queries
            * keys[:, reach + offset :, :, u:, v:][:, :length, :, :height, :width]
        ).sum(2)
        for offset in offsets
        for u in range(window[0])
        for v in range(window[1])
    ]
    stss = torch.stack(values, -1).unflatten(-1, (len(offsets), *window))
    return stss.to(feats.dtype)
