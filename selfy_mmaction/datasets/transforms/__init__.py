# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from selfy_mmaction.datasets.transforms import decoding  # noqa: F401  replaces mmaction2's

from .motion_blur_frame import MotionBlurFrame
from .occlude_frame import OccludeFrame
from .selective_flip import SelectiveFlip
from .short_clips import ShortClips

__all__ = ['MotionBlurFrame', 'OccludeFrame', 'SelectiveFlip', 'ShortClips']
