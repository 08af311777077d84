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
    """Blur an image as if it had moved, as ImageNet-C does.

    ImageNet-C calls ImageMagick's ``motion_blur`` through Wand and reads the PNG that
    it writes. This gives the same bytes as ImageMagick 6.9 with 16-bit quanta, without
    needing it: each pixel is the mean of the pixels from itself on along the angle,
    2 * ceil(radius) + 1 of them, weighted by half a Gaussian; beyond the border the
    border's pixels are repeated.

    Args:
        image: (H, W, C), uint8.
        radius: Half of the length of the trail in pixels, above 0.
        sigma: Standard deviation of the Gaussian in pixels, above 0.
        angle: Where these pixels lie, in degrees: 0 to the right, 90 down. A point's
            trail goes the opposite way.

    Returns:
        (H, W, C), uint8.

    Raises:
        ValueError: ``radius`` or ``sigma`` is not above 0.
    """
    if radius <= 0 or sigma <= 0:
        raise ValueError(f'radius={radius} and sigma={sigma} must be above 0')
    width = 2 * math.ceil(radius) + 1
    steps = np.arange(width)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    x, y = width * math.cos(math.radians(angle)), width * math.sin(math.radians(angle))
    # The same operations in the same order as there: half a pixel is a tie.
    columns = np.ceil(steps * x / math.hypot(y, x) - 0.5).astype(int)
    rows = np.ceil(steps * y / math.hypot(y, x) - 0.5).astype(int)

    height, length = image.shape[:2]
    padded = np.pad(image, ((width, width), (width, width), (0, 0)), mode='edge')
    blurred = np.zeros(image.shape)
    for weight, row, column in zip(weights, width + rows, width + columns, strict=True):
        blurred += weight * padded[row : row + height, column : column + length]
    # Rounded to 16 bits, of which ImageMagick's PNG keeps 8 without rounding again.
    quanta = np.floor(blurred * 257 + 0.5)
    return (quanta // 257).astype(np.uint8)


@TRANSFORMS.register_module()
class MotionBlurFrame(CorruptFrame):
    """Blur one frame of each clip as if it had moved (supplement A).

    The angle is drawn uniformly from -45 to 45 degrees as in ImageNet-C, one for each
    video. It depends only on ``seed`` and the name of the video's file or folder, so
    that every level and every network sees the same.

    Args:
        level: Severity from 1 to 6: (radius, sigma) of (15, 5), (10, 8), (15, 12),
            (20, 15), (25, 20) and (30, 25) px of a 224x224 input, scaled with the short
            side of another input.
        frame: Index of the frame in the clip, from 0. Default: None, the 4th of 8, as
            in the paper: (frames - 1) // 2.
        seed: Seed of the angles, from 0 to 2**32 - 1. Default: 0.

    Raises:
        ValueError: There is no such level or seed.
    """

    levels = MOTION_BLURS

    def __init__(self, level: int, frame: int | None = None, seed: int = 0) -> None:
        super().__init__(level, frame)
        self.seed = check_int('seed', seed, least=0, most=2**32 - 1)

    def corrupt(self, image: np.ndarray, results: dict[str, Any]) -> np.ndarray:
        """Blur a frame along the angle of its video."""
        scale = scale_to_input(image)
        radius, sigma = (length * scale for length in self.levels[self.level - 1])
        return motion_blur(image, radius, sigma, self.draw_angle(results))

    def draw_angle(self, results: dict[str, Any]) -> float:
        """Angle of a video in degrees, -45 to 45.

        Of ``filename`` or ``frame_dir`` only the last part without its ending counts.

        Raises:
            ValueError: The results have neither.
        """
        path = results.get('filename') or results.get('frame_dir')
        if path is None:
            raise ValueError(
                'MotionBlurFrame draws the angle by the name of the video, but the '
                'results have neither filename nor frame_dir; use it with a dataset '
                'of videos or of raw frames'
            )
        name = zlib.crc32(PurePath(path).stem.encode())
        return np.random.default_rng([self.seed, name]).uniform(-45, 45)

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, seed={self.seed})'
