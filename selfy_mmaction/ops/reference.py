# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Eq. 1 as plain loops: the reference for every faster implementation."""

from collections.abc import Sequence

import torch
from torch import Tensor


def self_similarity_loops(
    feats: Tensor,
    offsets: Sequence[int],
    window: Sequence[int],
    num_segments: int,
    eps: float = 1e-6,
    similarity: str = 'cosine',
    keys: Tensor | None = None,
) -> Tensor:
    """Compute the spatio-temporal self-similarity with plain loops over Eq. 1.

    Slow and simple on purpose. Has the arguments and the result of
    :func:`~selfy_mmaction.ops.self_similarity`, but shares no code with it.

    Args:
        feats: Features, (N*T, C, H, W).
        offsets: Temporal offsets ``l``, in frames.
        window: Spatial window ``(U, V)``, odd.
        num_segments: Frames per clip, ``T``.
        eps: Added to the squared norms. Default: 1e-6.
        similarity: 'cosine' or 'dot'. Default: 'cosine'.
        keys: Features of the neighbors, shaped like ``feats``. Default: None,
            ``feats``.

    Returns:
        The STSS tensor, (N, T, H, W, L, U, V).

    Example:
        >>> import torch
        >>> from selfy_mmaction.ops import self_similarity, self_similarity_loops
        >>> feats = torch.randn(4, 8, 5, 5)
        >>> found = self_similarity(feats, (-1, 0, 1), (3, 3), num_segments=4)
        >>> expected = self_similarity_loops(feats, (-1, 0, 1), (3, 3), num_segments=4)
        >>> torch.allclose(found, expected, atol=1e-5)
        True
    """
    num_frames, _, height, width = feats.shape
    shape = (num_frames // num_segments, num_segments, *feats.shape[1:])
    clips = feats.reshape(shape)
    key_clips = clips if keys is None else keys.reshape(shape)
    rows, cols = window
    zero = feats.new_zeros(())

    def measure(a: Tensor, b: Tensor) -> Tensor:
        dot = (a * b).sum()
        if similarity == 'dot':
            return dot
        return dot / ((a * a).sum() + eps).sqrt() / ((b * b).sum() + eps).sqrt()

    values = []
    for clip, key_clip in zip(clips, key_clips, strict=True):
        for t in range(num_segments):
            for y in range(height):
                for x in range(width):
                    for offset in offsets:
                        for u in range(-(rows // 2), rows // 2 + 1):
                            for v in range(-(cols // 2), cols // 2 + 1):
                                inside = (
                                    0 <= t + offset < num_segments
                                    and 0 <= y + u < height
                                    and 0 <= x + v < width
                                )
                                values.append(
                                    measure(
                                        clip[t, :, y, x],
                                        key_clip[t + offset, :, y + u, x + v],
                                    )
                                    if inside
                                    else zero
                                )
    return torch.stack(values).reshape(
        len(clips), num_segments, height, width, len(offsets), rows, cols
    )
