# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Frame indices of videos with fewer frames than segments."""

from typing import Any

import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform


@TRANSFORMS.register_module()
class ShortClips(BaseTransform):
    """Repeat the first frame of videos with fewer frames than segments.

    Place it after ``SampleFrames``, which spreads the available frames. The official
    loader (``TSNDataSet``, as in TSN and TSM) repeats the first frame instead, and
    without random shift also if there are exactly as many frames as segments. For
    longer videos, both sample the same frames.

    Args:
        test_mode: Whether frames are sampled without random shift, as in
            ``SampleFrames``. Default: False.

    Example:
        >>> from mmaction.datasets.transforms import SampleFrames
        >>> from selfy_mmaction.datasets import ShortClips
        >>> results = dict(total_frames=3, start_index=0)
        >>> sample = SampleFrames(clip_len=1, num_clips=8, test_mode=True)
        >>> sample(results)['frame_inds'].tolist()
        [0, 0, 0, 1, 1, 2, 2, 2]
        >>> ShortClips(test_mode=True)(results)['frame_inds'].tolist()
        [0, 0, 0, 0, 0, 0, 0, 0]
    """

    def __init__(self, test_mode: bool = False) -> None:
        self.test_mode = test_mode

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Set ``frame_inds`` of a short video to its first frame."""
        if results['clip_len'] != 1:
            return results
        shortest = results['num_clips'] + int(self.test_mode)
        if results['total_frames'] < shortest:
            results['frame_inds'] = np.full_like(
                results['frame_inds'], results['start_index']
            )
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(test_mode={self.test_mode})'
