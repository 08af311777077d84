# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Base class for corruptions of a single frame (section 4.7, supplement A)."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

PAPER_SIDE = 224


def center_frame(clip_length: int) -> int:
    """Return the index of the frame that section 4.7 corrupts, the 4th of 8.

    Indices start at 0. For an even length, it is the earlier of the two center frames.
    """
    return (clip_length - 1) // 2


def frames_per_clip(results: dict[str, Any]) -> int:
    """Return the number of frames of a clip: ``clip_len``, or ``num_clips`` if it is 1.

    Raises:
        ValueError: If the frames do not divide into clips.
    """
    clip_len, num_clips = results['clip_len'], results['num_clips']
    length = clip_len if clip_len > 1 else num_clips
    count = len(results['imgs'])
    if count % length:
        raise ValueError(
            f'{count} frames do not divide into clips of {length} frames '
            f'(clip_len={clip_len}, num_clips={num_clips})'
        )
    return length


class CorruptFrame(BaseTransform):
    """Corrupt one frame of each clip.

    Place it after the last crop or resize and before ``FormatShape``: lengths are in
    pixels of the network's input. If ``clip_len`` is 1 (2D networks), a clip is
    ``num_clips`` frames, otherwise ``clip_len`` frames. Every clip and crop of a video
    is corrupted.

    Args:
        level: Severity, from 1.
        frame: Index of the frame in the clip, from 0. Default: None, which uses
            :func:`center_frame`.

    Raises:
        ValueError: If ``level`` does not exist.
    """

    levels: Sequence[Any]
    """Parameters of each level in the supplement."""

    def __init__(self, level: int, frame: int | None = None) -> None:
        if level not in range(1, len(self.levels) + 1):
            raise ValueError(
                f'level={level!r} does not exist; the supplement has the levels 1 to '
                f'{len(self.levels)}: {", ".join(map(str, self.levels))}'
            )
        self.level = level
        self.frame = frame

    @abstractmethod
    def corrupt(self, image: np.ndarray, results: dict[str, Any]) -> np.ndarray:
        """Return a corrupted copy of a frame.

        Args:
            image: (H, W, 3), uint8. Other frames of the clip may share its memory.
            results: Results of the pipeline so far.
        """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Corrupt the frame of each clip and store ``imgs`` as a new list.

        Raises:
            ValueError: If the frames are not uint8 images or do not divide into clips,
                or ``frame`` does not exist.
        """
        images = list(results['imgs'])
        for image in images[:1]:
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise ValueError(
                    f'{type(self).__name__} got frames of shape {image.shape} and type '
                    f'{image.dtype}, expected (H, W, 3) and uint8; place it after the '
                    'last crop or resize and before FormatShape and Normalize'
                )
        length = frames_per_clip(results)
        frame = center_frame(length) if self.frame is None else self.frame
        if frame not in range(length):
            raise ValueError(
                f'frame={frame!r} does not exist in clips of {length} frames; choose '
                f'0 to {length - 1}'
            )
        for index in range(frame, len(images), length):
            images[index] = self.corrupt(images[index], results)
        results['imgs'] = images
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(level={self.level}, frame={self.frame})'


def scale_to_input(image: np.ndarray) -> float:
    """Return the factor from the paper's pixels to those of a frame, (H, W, 3).

    The supplement gives lengths in pixels of a 224x224 input: level 6 of the occlusion,
    224 px, covers the frame. For other inputs, they scale with the short side.
    """
    return min(image.shape[:2]) / PAPER_SIDE
