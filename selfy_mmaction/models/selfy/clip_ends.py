# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What the similarities are at the ends of a clip, if not those to zeros."""

from collections.abc import Sequence

import torch
from torch import Tensor


def offsets_within_clip(offsets: Sequence[int], frames: int) -> list[list[int]]:
    """Shorten the offsets that lead beyond the clip to those of its end frames.

    Args:
        offsets: Temporal offsets l.
        frames: Frames per clip, T.

    Returns:
        Offsets for each frame, (T, L).
    """
    return [
        [min(max(frame + offset, 0), frames - 1) - frame for offset in offsets]
        for frame in range(frames)
    ]


def frames_with_neighbor(offsets: Sequence[int], frames: int) -> list[list[int]]:
    """Find the nearest frame that has a frame of the clip at each offset.

    Args:
        offsets: Temporal offsets l.
        frames: Frames per clip, T.

    Returns:
        Frames for each frame, (T, L); the frame itself if there is none.
    """
    return [
        [
            min(max(frame, -offset), frames - 1 - max(offset, 0))
            if abs(offset) < frames
            else frame
            for offset in offsets
        ]
        for frame in range(frames)
    ]


def select(stss: Tensor, index: list[list[int]], dim: int) -> Tensor:
    """Select frames or offsets of an STSS tensor, for each frame and offset.

    Args:
        stss: STSS tensor, (N, T, h, w, L', U, V).
        index: Indices of frames or offsets, (T, L).
        dim: 1 to select frames, for which L' = L; 3 to select offsets.

    Returns:
        (N, T, h, w, L, U, V).
    """
    volumes = stss.flatten(-2).flatten(2, 3)  # (N, T, h*w, L', U*V)
    places = torch.tensor(index, device=stss.device)[:, None, :, None]
    shape = (*volumes.shape[:3], places.size(2), volumes.size(4))
    volumes = volumes.gather(dim, places.expand(shape))
    return volumes.unflatten(2, stss.shape[2:4]).unflatten(-1, stss.shape[-2:])
