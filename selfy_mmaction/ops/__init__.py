# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Functions on tensors. They know nothing of mmaction2."""

from .backends import check_backend
from .reference import self_similarity_loops
from .self_similarity import (
    check_num_segments,
    check_offsets,
    check_window,
    self_similarity,
)
from .small_map_convolution import conv2d_small_maps

__all__ = [
    'check_backend',
    'check_num_segments',
    'check_offsets',
    'check_window',
    'conv2d_small_maps',
    'self_similarity',
    'self_similarity_loops',
]
