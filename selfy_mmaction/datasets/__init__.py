# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Datasets, samplers and transforms, registered in mmaction2's registries."""

from .balanced_sampler import BalancedSampler
from .checked_datasets import CheckedRawframeDataset, CheckedVideoDataset
from .transforms import (
    ControlFrames,
    MotionBlurFrame,
    OccludeFrame,
    SelectiveFlip,
    ShortClips,
)

__all__ = [
    'BalancedSampler',
    'CheckedRawframeDataset',
    'CheckedVideoDataset',
    'ControlFrames',
    'MotionBlurFrame',
    'OccludeFrame',
    'SelectiveFlip',
    'ShortClips',
]
