# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Data sets, registered in mmaction2's registries."""

from .checked_video_dataset import CheckedVideoDataset
from .transforms import SelectiveFlip

__all__ = ['CheckedVideoDataset', 'SelectiveFlip']
