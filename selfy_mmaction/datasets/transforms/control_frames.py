# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Control experiments: clips of which a part of the order is removed."""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from .corrupt_frame import center_frame, frames_per_clip

Frames = list[np.ndarray]


def _one(frames: Frames, rng: np.random.Generator) -> Frames:
    return [frames[center_frame(len(frames))]] * len(frames)


def _mean(frames: Frames, rng: np.random.Generator) -> Frames:
    mean = np.rint(np.mean(frames, axis=0)).astype(frames[0].dtype)
    return [mean] * len(frames)


def _first_and_last(frames: Frames, rng: np.random.Generator) -> Frames:
    half = (len(frames) + 1) // 2
    return [frames[0]] * half + [frames[-1]] * (len(frames) - half)


def _shuffled(frames: Frames, rng: np.random.Generator) -> Frames:
    return [frames[index] for index in rng.permutation(len(frames))]


def _reversed(frames: Frames, rng: np.random.Generator) -> Frames:
    return frames[::-1]


CONTROLS: dict[str, Callable[[Frames, np.random.Generator], Frames]] = {
    'one': _one,
    'mean': _mean,
    'first_and_last': _first_and_last,
    'shuffled': _shuffled,
    'reversed': _reversed,
}


@TRANSFORMS.register_module()
class ControlFrames(BaseTransform):
    """Remove a part of a clip's order, to see what a network needs of it.

    Place it after the last crop or resize and before ``FormatShape``. If ``clip_len``
    is 1 (2D networks), a clip is ``num_clips`` frames, otherwise ``clip_len`` frames.

    Args:
        control: What remains of a clip of T frames.

            - ``'one'``: the center frame, (T - 1) // 2, T times
            - ``'mean'``: the mean of the frames, T times
            - ``'first_and_last'``: the first frame for the first half, then the last
            - ``'shuffled'``: the frames in an order that depends only on the name of
              the file
            - ``'reversed'``: the frames from the last to the first

    Raises:
        ValueError: If ``control`` is none of these.

    Example:
        >>> import numpy as np
        >>> from selfy_mmaction.datasets import ControlFrames
        >>> frames = [np.full((2, 2, 3), t, dtype=np.uint8) for t in range(8)]
        >>> results = dict(imgs=frames, clip_len=1, num_clips=8, filename='clip.mp4')
        >>> for control in ('reversed', 'one', 'first_and_last'):
        ...     changed = ControlFrames(control)(dict(results))
        ...     print(*(frame[0, 0, 0] for frame in changed['imgs']))
        7 6 5 4 3 2 1 0
        3 3 3 3 3 3 3 3
        0 0 0 0 7 7 7 7
    """

    def __init__(self, control: str) -> None:
        if control not in CONTROLS:
            raise ValueError(
                f'control={control!r} does not exist; choose one of '
                f'{", ".join(map(repr, CONTROLS))}'
            )
        self.control = control

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Change each clip and store ``imgs`` as a new list.

        Raises:
            ValueError: If the frames do not divide into clips.
        """
        images = list(results['imgs'])
        length = frames_per_clip(results)
        name = str(results.get('filename') or results.get('frame_dir'))
        changed: Frames = []
        for start in range(0, len(images), length):
            # Of one clip, all crops are shuffled alike.
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            changed += CONTROLS[self.control](images[start : start + length], rng)
        results['imgs'] = changed
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(control={self.control!r})'
