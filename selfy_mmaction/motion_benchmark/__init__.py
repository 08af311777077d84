# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Generated videos whose label depends only on the order of a motion.

See the data card in ``docs/motion-benchmark.md``.
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
