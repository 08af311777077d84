# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Frames at temporal offsets."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from selfy_mmaction.ops import check_num_segments


def frames_at(x: Tensor, num_segments: int, offsets: Sequence[int]) -> list[Tensor]:
    """Select for each frame t the frame t + l of its clip, for several l.

    Args:
        x: Features, (N*T, C, H, W).
        num_segments: Frames per clip, T.
        offsets: Temporal offsets l.

    Returns:
        Features at t + l, (N*T, C, H, W), for each l; zeros outside of the clip.

    Raises:
        ValueError: If N*T is not a multiple of ``num_segments``.
    """
    check_num_segments(x.size(0), num_segments)
    reach = max(map(abs, offsets))
    clips = F.pad(x.unflatten(0, (-1, num_segments)), (*[0] * 6, reach, reach))
    return [
        clips[:, reach + offset :][:, :num_segments].flatten(0, 1) for offset in offsets
    ]
