# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Frames of clips that are shorter than their number of segments."""

from typing import Any

import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

POLICIES = ('first', 'spread')


@TRANSFORMS.register_module()
class ShortClips(BaseTransform):
    """What to show of a clip with fewer frames than segments; follows ``SampleFrames``.

    The authors' loader (``TSNDataSet`` of TSN, TSM and the released code) repeats the
    first frame, and without random shift it does so for clips with exactly as many
    frames as segments, too. mmaction2's ``SampleFrames`` spreads the frames there are.
    For longer clips both take the same frames.

    Args:
        policy: ``first`` repeats the first frame, ``spread`` leaves mmaction2's choice.
            Default: first.
        test_mode: Whether frames are sampled without random shift, as in
            ``SampleFrames``. Default: False.

    Raises:
        ValueError: The policy is unknown.
    """

    def __init__(self, policy: str = 'first', test_mode: bool = False) -> None:
        if policy not in POLICIES:
            raise ValueError(f'policy={policy!r} is unknown; choose one of {POLICIES}')
        self.policy = policy
        self.test_mode = test_mode

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Choose the frames of a short clip.

        Args:
            results: Needs ``total_frames``, ``start_index``, and ``frame_inds``,
                ``clip_len`` and ``num_clips`` of ``SampleFrames``.

        Returns:
            The results.
        """
        if self.policy == 'spread' or results['clip_len'] != 1:
            return results
        shortest = results['num_clips'] + (1 if self.test_mode else 0)
        if results['total_frames'] < shortest:
            results['frame_inds'] = np.full_like(
                results['frame_inds'], results['start_index']
            )
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(policy={self.policy!r}, test_mode={self.test_mode})'
        )
