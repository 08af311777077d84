# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Corruptions of one frame and their levels (section 4.7), as steps of a pipeline."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from selfy_mmaction.datasets.transforms.motion_blur_frame import MOTION_BLURS
from selfy_mmaction.datasets.transforms.occlude_frame import OCCLUSION_SIDES

CORRUPTIONS = ('occlusion', 'motion_blur')
_TRANSFORMS = dict(occlusion='OccludeFrame', motion_blur='MotionBlurFrame')
LABELS = dict(
    occlusion=[str(side) for side in OCCLUSION_SIDES],
    motion_blur=[f'({radius}, {sigma})' for radius, sigma in MOTION_BLURS],
)


class Level(NamedTuple):
    """A severity of a corruption.

    Attributes:
        corruption: One of ``CORRUPTIONS``, or 'clean'.
        level: From 1; 0 for 'clean'.
    """

    corruption: str
    level: int

    def __str__(self) -> str:
        if self.level == 0:
            return 'clean'
        label = LABELS[self.corruption][self.level - 1]
        return f'{self.corruption} {self.level}: {label}'


CLEAN = Level('clean', 0)


def choose_levels(
    corruptions: Sequence[str] = CORRUPTIONS, levels: Sequence[int] = range(1, 7)
) -> list[Level]:
    """The clean clips, then some levels (of 1 to 6) of some corruptions, in order.

    Raises:
        ValueError: There is no such corruption or level.
    """
    for corruption in corruptions:
        if corruption not in CORRUPTIONS:
            raise ValueError(f'corruption {corruption!r} is none of {CORRUPTIONS}')
    for level in levels:
        if level not in range(1, 7):
            raise ValueError(f'level {level!r} does not exist; choose from 1 to 6')
    chosen = (Level(c, level) for c in CORRUPTIONS for level in sorted(set(levels)))
    return [CLEAN, *(level for level in chosen if level.corruption in corruptions)]


def make_step(level: Level, frame: int | None, seed: int) -> dict[str, Any] | None:
    """Config of the step that corrupts a frame; None for clean clips.

    Args:
        level: What to do.
        frame: Index of the frame in the clip, from 0; None for the center.
        seed: Seed of the blur's angles.
    """
    if level == CLEAN:
        return None
    step = dict(type=_TRANSFORMS[level.corruption], level=level.level, frame=frame)
    return dict(step, seed=seed) if level.corruption == 'motion_blur' else step


def insert_step(
    pipeline: Sequence[dict[str, Any]], step: dict[str, Any]
) -> list[dict[str, Any]]:
    """A pipeline with a step inserted after its last crop or resize.

    Raises:
        ValueError: There is no ``FormatShape``, or no crop or resize before it.
    """
    types = [str(each['type']) for each in pipeline]
    if 'FormatShape' not in types:
        raise ValueError(f'the test pipeline has no FormatShape: {", ".join(types)}')
    spatial = [
        index
        for index, name in enumerate(types[: types.index('FormatShape')])
        if re.search('Crop|Resize|Fuse', name)
    ]
    if not spatial:
        raise ValueError(
            'the test pipeline has no crop or resize before FormatShape, so that the '
            f"size of the network's input is not known: {', '.join(types)}"
        )
    return [*pipeline[: spatial[-1] + 1], step, *pipeline[spatial[-1] + 1 :]]
