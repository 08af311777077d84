# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Procedurally generated videos whose label is the order of a motion, nothing else.

``docs/motion-benchmark.md`` is the data card.
"""

from .generation import GENERATOR_VERSION, make_motion
from .presets import PRESETS, SPLITS, class_names, clip_label
from .rendering import render_clip

__all__ = [
    'GENERATOR_VERSION',
    'PRESETS',
    'SPLITS',
    'class_names',
    'clip_label',
    'make_motion',
    'render_clip',
]
