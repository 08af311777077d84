# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2 uses names that numpy 2 removed."""

from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

# The mmaction2 modules that use these names. The script ntu_pose_extraction.py does,
# too, but runs as __main__, so it cannot be patched.
_MODULES = (
    'mmaction.datasets.transforms.pose_transforms',
    'mmaction.evaluation.functional.accuracy',
    'mmaction.evaluation.functional.ava_evaluation.metrics',
    'mmaction.evaluation.metrics.multimodal_metric',
    'mmaction.utils.misc',
)


def apply_numpy_names() -> bool:
    """Let mmaction2 use ``Inf``, ``NAN``, ``in1d`` and ``trapz`` of numpy 1.

    Each mmaction2 module that uses these names gets its own ``np`` that has them. numpy
    itself is not modified: other packages look up such names to detect its version.

    Symptom: ``AttributeError: `np.Inf` was removed in the NumPy 2.0 release`` from
    ``PoseCompact``, ``MMCompact``, ``frame_extract`` and AVA's metric on numpy 2.0;
    ``AttributeError: module 'numpy' has no attribute 'in1d'`` from
    ``RetrievalRecall``, and ``'trapz'`` from the AR@AN metric, on numpy 2.4.

    Upstream: not reported.

    Delete when: the oldest supported mmaction2 uses none of these names.
    """
    if hasattr(np, 'Inf'):
        return False
    modules = [import_module(name) for name in _MODULES]
    changed = [module for module in modules if module.np is np]
    for module in changed:
        module.np = _NUMPY
    return bool(changed)


def _in1d(ar1: Any, ar2: Any, **kwargs: Any) -> np.ndarray:
    return np.isin(np.ravel(ar1), ar2, **kwargs)


class _NumpyWithOldNames(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


_NUMPY = _NumpyWithOldNames('numpy')
_NUMPY.Inf = np.inf
_NUMPY.NAN = np.nan
_NUMPY.in1d = _in1d
if not hasattr(np, 'Inf'):
    # numpy 1 has no `trapezoid`, and does not need this object.
    _NUMPY.trapz = np.trapezoid
