# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Motion blur of one frame (section 4.7, Fig. 5b)."""

import math
import zlib
from pathlib import PurePath
from typing import Any

import numpy as np
from mmaction.registry import TRANSFORMS

from selfy_mmaction.ops import check_int

from .corrupt_frame import CorruptFrame, scale_to_input

# Supplement A: (radius, sigma) in pixels of a 224x224 input, levels 1 to 6.
MOTION_BLURS = ((15, 5), (10, 8), (15, 12), (20, 15), (25, 20), (30, 25))


def motion_blur(
    image: np.ndarray, radius: float, sigma: float, angle: float
) -> np.ndarray:
    """Apply the motion blur of ImageNet-C.

    ImageNet-C calls ImageMagick's ``motion_blur`` through Wand and reads the resulting
    PNG. This function returns the same bytes as ImageMagick 6.9 with 16-bit quanta,
    without ImageMagick: each output pixel is the mean of 2 * ceil(radius) + 1 pixels,
    from itself along the angle, weighted by half a Gaussian. Border pixels are
    repeated.

    Args:
        image: (H, W, C), uint8.
        radius: Half of the trail's length in pixels, above 0.
        sigma: Standard deviation of the Gaussian in pixels, above 0.
        angle: Direction of the averaged pixels in degrees: 0 is right, 90 is down. The
            trail of a point extends in the opposite direction.

    Returns:
        (H, W, C), uint8.

    Raises:
        ValueError: If ``radius`` or ``sigma`` is not above 0.
    """
    if radius <= 0 or sigma <= 0:
        raise ValueError(f'radius={radius} and sigma={sigma} must be above 0')
    width = 2 * math.ceil(radius) + 1
    steps = np.arange(width)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    x, y = width * math.cos(math.radians(angle)), width * math.sin(math.radians(angle))
    # Same order of operations as ImageMagick, so that ties at half a pixel agree.
    columns = np.ceil(steps * x / math.hypot(y, x) - 0.5).astype(int)
    rows = np.ceil(steps * y / math.hypot(y, x) - 0.5).astype(int)

    height, length = image.shape[:2]
    padded = np.pad(image, ((width, width), (width, width), (0, 0)), mode='edge')
    blurred = np.zeros(image.shape)
    for weight, row, column in zip(weights, width + rows, width + columns, strict=True):
        blurred += weight * padded[row : row + height, column : column + length]
    # ImageMagick rounds to 16 bits; its PNG then keeps the upper 8 bits.
    quanta = np.floor(blurred * 257 + 0.5)
    return (quanta // 257).astype(np.uint8)


@TRANSFORMS.register_module()
class MotionBlurFrame(CorruptFrame):
    """Apply motion blur to one frame of each clip (supplement A).

    The angle is drawn per video, uniformly from -45 to 45 degrees as in ImageNet-C. It
    depends only on ``seed`` and the name of the video's file or folder, so it is the
    same for all levels and networks.

    Args:
        level: Severity from 1 to 6: (radius, sigma) of (15, 5), (10, 8), (15, 12),
            (20, 15), (25, 20) and (30, 25) px of a 224x224 input, scaled with the short
            side for other inputs.
        frame: Index of the frame in the clip, from 0. Default: None, which is
            (frames - 1) // 2, the 4th of 8 as in the paper.
        seed: Seed of the angles, from 0 to 2**32 - 1. Default: 0.

    Raises:
        ValueError: If ``level`` or ``seed`` is out of range.

    Example:
        >>> import numpy as np
        >>> from selfy_mmaction.datasets import MotionBlurFrame
        >>> frames = np.random.default_rng(0).integers(256, size=(8, 56, 56, 3))
        >>> frames = frames.astype(np.uint8)
        >>> results = dict(imgs=[*frames], clip_len=1, num_clips=8, filename='clip.mp4')
        >>> blurred = MotionBlurFrame(level=6)(results)['imgs']
        >>> [t for t in range(8) if not np.array_equal(blurred[t], frames[t])]
        [3]
    """

    levels = MOTION_BLURS

    def __init__(self, level: int, frame: int | None = None, seed: int = 0) -> None:
        super().__init__(level, frame)
        self.seed = check_int('seed', seed, least=0, most=2**32 - 1)

    def corrupt(self, image: np.ndarray, results: dict[str, Any]) -> np.ndarray:
        """Blur a copy of the frame along the angle of its video."""
        scale = scale_to_input(image)
        radius, sigma = (length * scale for length in self.levels[self.level - 1])
        return motion_blur(image, radius, sigma, self.draw_angle(results))

    def draw_angle(self, results: dict[str, Any]) -> float:
        """Draw the angle of a video in degrees, from -45 to 45.

        It depends on the last part of ``filename`` or ``frame_dir``, without extension.

        Raises:
            ValueError: If the results have neither key.
        """
        path = results.get('filename') or results.get('frame_dir')
        if path is None:
            raise ValueError(
                'MotionBlurFrame derives the angle from the name of the video, but the '
                'results have neither filename nor frame_dir; use it with a video or '
                'raw-frame dataset'
            )
        name = zlib.crc32(PurePath(path).stem.encode())
        return np.random.default_rng([self.seed, name]).uniform(-45, 45)

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, seed={self.seed})'
