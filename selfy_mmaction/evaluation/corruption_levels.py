# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Corruptions of one frame and their levels (section 4.7) as pipeline transforms."""

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
    """Severity level of a corruption.

    Attributes:
        corruption: One of ``CORRUPTIONS``, or ``'clean'``.
        level: Severity from 1; 0 for ``'clean'``.
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
    """Return the levels to test: clean clips, then the chosen levels in order.

    Args:
        corruptions: Names from ``CORRUPTIONS``. Default: all.
        levels: Levels from 1 to 6. Default: all.

    Raises:
        ValueError: If a corruption or level does not exist.

    Example:
        >>> from selfy_mmaction.evaluation.corruption_levels import choose_levels
        >>> for level in choose_levels(['occlusion'], levels=[1, 6]):
        ...     print(level.corruption, level.level)
        clean 0
        occlusion 1
        occlusion 6
    """
    for corruption in corruptions:
        if corruption not in CORRUPTIONS:
            raise ValueError(
                f'corruption {corruption!r} does not exist; choose from '
                f'{", ".join(CORRUPTIONS)}'
            )
    for level in levels:
        if level not in range(1, 7):
            raise ValueError(f'level {level!r} does not exist; choose from 1 to 6')
    chosen = (Level(c, level) for c in CORRUPTIONS for level in sorted(set(levels)))
    return [CLEAN, *(level for level in chosen if level.corruption in corruptions)]


def make_transform(level: Level, frame: int | None, seed: int) -> dict[str, Any] | None:
    """Return the config of the transform that corrupts a frame, or None for clean.

    Args:
        level: Level of the corruption.
        frame: Index of the frame in the clip, from 0; None for the center.
        seed: Seed of the angles of the motion blur.
    """
    if level == CLEAN:
        return None
    transform = dict(type=_TRANSFORMS[level.corruption], level=level.level, frame=frame)
    return (
        dict(transform, seed=seed) if level.corruption == 'motion_blur' else transform
    )


def insert_transform(
    pipeline: Sequence[dict[str, Any]], transform: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return a pipeline with a transform inserted after its last crop or resize.

    Raises:
        ValueError: If there is no ``FormatShape``, or no crop or resize before it.
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
            'the test pipeline has no crop or resize before FormatShape that sets '
            f"the size of the network's input: {', '.join(types)}"
        )
    return [*pipeline[: spatial[-1] + 1], transform, *pipeline[spatial[-1] + 1 :]]
