# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Frames of clips that are shorter than their number of segments."""

from typing import Any

import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform


@TRANSFORMS.register_module()
class ShortClips(BaseTransform):
    """Repeat the first frame of clips with fewer frames than segments.

    It follows ``SampleFrames``, which spreads the frames there are. The official loader
    (``TSNDataSet``, as in TSN and TSM) repeats the first frame, and without random
    shift it does so for clips with exactly as many frames as segments, too. For longer
    clips both take the same frames.

    Args:
        test_mode: Whether frames are sampled without random shift, as in
            ``SampleFrames``. Default: False.
    """

    def __init__(self, test_mode: bool = False) -> None:
        self.test_mode = test_mode

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Choose the frames ``frame_inds`` of a short clip."""
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
