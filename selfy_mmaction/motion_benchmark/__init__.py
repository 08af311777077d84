# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Generated videos whose label depends only on the order of a motion.

See the data card in ``docs/motion-benchmark.md``.
"""

from .generation import make_motion
from .presets import PRESETS, class_names, clip_label, render_clip

__all__ = [
    'PRESETS',
    'class_names',
    'clip_label',
    'make_motion',
    'render_clip',
]
