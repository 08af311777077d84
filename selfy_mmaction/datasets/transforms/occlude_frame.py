# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Occlusion of one frame (section 4.7, Fig. 5a)."""

from typing import Any

import numpy as np
from mmaction.registry import TRANSFORMS

from .corrupt_frame import CorruptFrame, check_level, scale_to_input

# Supplement A: side of the square in pixels of a 224x224 input, levels 1 to 6.
OCCLUSION_SIDES = (40, 80, 120, 160, 200, 224)


@TRANSFORMS.register_module()
class OccludeFrame(CorruptFrame):
    """Cut a square out of the center of one frame of each clip (supplement A).

    Args:
        level: Severity from 1 to 6: sides of 40, 80, 120, 160, 200 and 224 px of a
            224x224 input, scaled with the short side of another input. Default: None.
        side: Side of the square in pixels of the input as it is, instead of a level;
            what is outside of the frame is ignored. Default: None.
        frame: Index of the frame in the clip, from 0. Default: None, the 4th of 8, as
            in the paper: (frames - 1) // 2.
        fill: Value of the pixels cut out. Default: 0, black; the paper does not say.

    Raises:
        ValueError: Not exactly one of ``level`` and ``side`` is given, or it is out of
            range.
    """

    def __init__(
        self,
        level: int | None = None,
        side: int | None = None,
        frame: int | None = None,
        fill: int = 0,
    ) -> None:
        super().__init__(frame)
        if (level is None) == (side is None):
            raise ValueError(
                f'OccludeFrame got level={level} and side={side}; give one of the two'
            )
        if level is not None:
            check_level(level, OCCLUSION_SIDES)
        elif side < 1:
            raise ValueError(f'side={side} must be at least 1 pixel')
        self.level = level
        self.side = side
        self.fill = fill

    def corrupt(self, image: np.ndarray, results: dict[str, Any]) -> np.ndarray:
        """Cut the square out of a copy of the frame."""
        side = self.side
        if side is None:
            side = round(OCCLUSION_SIDES[self.level - 1] * scale_to_input(image))
        rows, columns = (
            slice(max(0, (length - side) // 2), (length - side) // 2 + side)
            for length in image.shape[:2]
        )
        occluded = image.copy()
        occluded[rows, columns] = self.fill
        return occluded

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(level={self.level}, side={self.side}, '
            f'frame={self.frame}, fill={self.fill})'
        )
