# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Occlusion of one frame (section 4.7, Fig. 5a)."""

from typing import Any

import numpy as np
from mmaction.registry import TRANSFORMS

from .corrupt_frame import CorruptFrame, scale_to_input

# Supplement A: side of the square in pixels of a 224x224 input, levels 1 to 6.
OCCLUSION_SIDES = (40, 80, 120, 160, 200, 224)


@TRANSFORMS.register_module()
class OccludeFrame(CorruptFrame):
    """Black out a center square in one frame of each clip (supplement A).

    The paper does not specify the color.

    Args:
        level: Severity from 1 to 6: sides of 40, 80, 120, 160, 200 and 224 px of a
            224x224 input, scaled with the short side for other inputs.
        frame: Index of the frame in the clip, from 0. Default: None, which is
            (frames - 1) // 2, the 4th of 8 as in the paper.

    Raises:
        ValueError: If ``level`` does not exist.

    Example:
        >>> import numpy as np
        >>> from mmaction.registry import TRANSFORMS
        >>> import selfy_mmaction  # registers the transforms
        >>> occlude = TRANSFORMS.build(dict(type='OccludeFrame', level=2, frame=0))
        >>> frame = np.full((224, 224, 3), 255, dtype=np.uint8)
        >>> occluded = occlude(dict(imgs=[frame] * 8, clip_len=1, num_clips=8))['imgs']
        >>> [int((image == 0).sum() / 3) for image in occluded]  # 80x80 pixels
        [6400, 0, 0, 0, 0, 0, 0, 0]
    """

    levels = OCCLUSION_SIDES

    def corrupt(self, image: np.ndarray, results: dict[str, Any]) -> np.ndarray:
        """Black out the square in a copy of the frame."""
        side = round(self.levels[self.level - 1] * scale_to_input(image))
        top, left = ((length - side) // 2 for length in image.shape[:2])
        occluded = image.copy()
        occluded[top : top + side, left : left + side] = 0
        return occluded
