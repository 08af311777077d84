# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""A clip whose features move by a known number of cells per frame."""

import numpy as np
import pytest
import torch

from selfy_mmaction.inference.prediction import ClassProbability
from selfy_mmaction.ops import self_similarity
from selfy_mmaction.visualization.recorded_clip import RecordedClip

OFFSETS = (-2, -1, 0, 1, 2)


@pytest.fixture(scope='session')
def moving_clip() -> RecordedClip:
    """6 frames, 64x96 pixels, grid 8x12, window 9x7: (u, v) = (1, -1) per frame."""
    generator = torch.Generator().manual_seed(0)
    canvas = torch.randn(16, 8, 12, generator=generator)
    features = torch.stack([canvas.roll((t, -t), (1, 2)) for t in range(6)])
    stss = self_similarity(features, OFFSETS, (9, 7), num_segments=6)[0]
    colors = features[:, :3].sigmoid().mul(255).byte()
    frames = colors.permute(0, 2, 3, 1).repeat_interleave(8, 1).repeat_interleave(8, 2)
    return RecordedClip(
        video='moving.mp4',
        source='features that move by 1 row and -1 column per frame',
        frames=frames.numpy(),
        stss=stss.numpy(),
        offsets=OFFSETS,
        seconds=tuple(t / 10 for t in range(6)),
        extraction=np.abs(stss.flatten(-2).numpy()[..., :5]),
        integration=np.random.default_rng(0).random((6, 7, 8, 12), dtype=np.float32),
        classes=(
            ClassProbability(3, 'down_left', 0.75),
            ClassProbability(1, 'up', 0.25),
        ),
    )
