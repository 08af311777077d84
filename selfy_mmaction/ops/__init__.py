# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Tensor functions, independent of mmaction2."""

from .backends import check_backend
from .option_checks import (
    check_bool,
    check_choice,
    check_int,
    check_ints,
    check_num_segments,
    check_offsets,
    check_positive,
    check_window,
)
from .reference import self_similarity_loops
from .self_similarity import self_similarity

__all__ = [
    'check_backend',
    'check_bool',
    'check_choice',
    'check_int',
    'check_ints',
    'check_num_segments',
    'check_offsets',
    'check_positive',
    'check_window',
    'self_similarity',
    'self_similarity_loops',
]
