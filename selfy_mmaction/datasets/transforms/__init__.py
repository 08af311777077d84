# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Transforms in mmaction2's registry; the decoders replace mmaction2's own."""

from . import decord_decoding, opencv_decoding, pyav_decoding
from .control_frames import ControlFrames
from .motion_blur_frame import MotionBlurFrame
from .occlude_frame import OccludeFrame
from .selective_flip import SelectiveFlip
from .short_clips import ShortClips

__all__ = [
    'ControlFrames',
    'MotionBlurFrame',
    'OccludeFrame',
    'SelectiveFlip',
    'ShortClips',
    'decord_decoding',
    'opencv_decoding',
    'pyav_decoding',
]
