# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's MultiSports metric passes one-element arrays to ``int``."""

from typing import Any

import numpy as np
from mmaction.evaluation.functional import multisports_utils


def apply_multisports_frames() -> bool:
    """Make ``MultiSportsMetric`` compare tubes on numpy 2.4.

    Symptom: ``TypeError: only 0-dimensional arrays can be converted to Python
    scalars`` from ``iou3dt_voc``.

    Upstream: not reported.

    Delete when: the oldest supported mmaction2 passes numbers to ``int``.
    """
    if _tubes_are_compared():
        return False
    # A module-level `int` shadows the builtin, which this module only calls.
    multisports_utils.int = _int_of_one
    return True


def _tubes_are_compared() -> bool:
    # One row per frame: frame number, then the corners of a box.
    tube = np.array([[0.0, 0.0, 0.0, 9.0, 9.0], [1.0, 0.0, 0.0, 9.0, 9.0]])
    try:
        multisports_utils.iou3dt_voc(tube, tube)
    except TypeError:
        return False
    return True


def _int_of_one(value: Any) -> int:
    return int(value.item() if isinstance(value, np.ndarray) else value)
