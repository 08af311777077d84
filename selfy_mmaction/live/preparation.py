# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The steps of a test pipeline after decoding, on single frames."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmaction.datasets.transforms import FormatShape, TenCrop, ThreeCrop
from mmaction.registry import TRANSFORMS

from selfy_mmaction.datasets.reading import Transform, UnreadableError

from .frame_rate import ClipSampling


class FramePreparation:
    """Resizes and crops frames one by one, and packs them as a clip.

    Several crops per frame become one in the center.

    Args:
        steps: The steps of the test pipeline after decoding.
    """

    def __init__(self, steps: Sequence[Transform]) -> None:
        steps = [_center(step) for step in steps]
        kinds = [type(step) for step in steps]
        packing = [
            index
            for index, kind in enumerate(kinds)
            if issubclass(kind, FormatShape) or kind.__name__.startswith('Pack')
        ]
        first = min(packing, default=len(steps))
        self._per_frame, self._per_clip = steps[:first], steps[first:]

    def prepare(self, image: np.ndarray) -> dict[str, Any]:
        """Resize and crop one frame.

        Args:
            image: (H, W, 3), uint8, RGB.

        Returns:
            What the steps know of it; ``imgs`` has the frame.
        """
        info = dict(label=-1, start_index=0, modality='RGB', total_frames=1)
        info.update(imgs=[image], num_clips=1, clip_len=1, frame_inds=np.zeros(1, int))
        info['original_shape'] = info['img_shape'] = image.shape[:2]
        return _run(self._per_frame, info)

    def pack(
        self, frames: Sequence[dict[str, Any]], sampling: ClipSampling | None = None
    ) -> dict[str, Any]:
        """Pack frames as a clip.

        Args:
            frames: Results of :meth:`prepare`, oldest first.
            sampling: How the network expects them. Default: None, as single frames.
        """
        info = dict(frames[-1], imgs=[frame['imgs'][0] for frame in frames])
        info.update(total_frames=len(frames), frame_inds=np.arange(len(frames)))
        info['num_clips'] = len(frames)
        if sampling is not None:
            info.update(num_clips=sampling.num_clips, clip_len=sampling.clip_len)
        return _run(self._per_clip, info)


def _center(step: Transform) -> Transform:
    if not isinstance(step, (TenCrop, ThreeCrop)):
        return step
    return TRANSFORMS.build(dict(type='CenterCrop', crop_size=step.crop_size))


def _run(steps: Sequence[Transform], info: Any) -> Any:
    for step in steps:
        info = step(info)
        if info is None:
            raise UnreadableError(f'{type(step).__name__} rejected a frame')
    return info
