# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""torch's safe loading rejects objects that mmengine writes to checkpoints."""

import io
import pickle
from collections.abc import Callable

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleParamScheduler
from mmengine.runner import checkpoint

# Methods that mmengine's objects refer to; pickle writes them as getattr(class, name).
_METHODS = {
    HistoryBuffer: ('min', 'max', 'current', 'mean'),
    OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
}
_DTYPES = '?bBhHiIlLqQefd'


def apply_safe_checkpoints() -> bool:
    """Let ``torch.load`` read mmengine checkpoints with ``weights_only=True``.

    Only plain numpy data, mmengine's ``HistoryBuffer`` and the method stored by its
    ``OneCycleLR`` are added to what torch accepts. A checkpoint that contains anything
    else is still rejected, also by onedl-mmengine, which would otherwise load it again
    with ``weights_only=False``.

    Symptom: ``_pickle.UnpicklingError: Weights only load failed ... Unsupported
    global: GLOBAL mmengine.logging.history_buffer.HistoryBuffer was not an
    allowed global by default`` from ``train.py --resume``, ``test.py``,
    ``vis_cam.py`` and ``publish_model.py`` on torch >= 2.6.

    Upstream: mmengine issue 1655.

    Delete when: the oldest supported mmengine writes checkpoints that
    ``torch.load(weights_only=True)`` reads.
    """
    if hasattr(checkpoint, '_safe_torch_load'):
        checkpoint._safe_torch_load = torch.load
    if _history_loads():
        return False
    torch.serialization.add_safe_globals(_safe_globals())
    return True


def _history_loads() -> bool:
    file = io.BytesIO()
    torch.save(HistoryBuffer([1.0], [1]), file)
    file.seek(0)
    try:
        torch.load(file)
    except pickle.UnpicklingError:
        return False
    return True


def _safe_globals() -> list[Callable | tuple[Callable, str]]:
    rebuild_array = np.zeros(0).__reduce__()[0]
    rebuild_scalar = np.float64(0).__reduce__()[0]
    # numpy 1 writes numpy.core, numpy 2 writes numpy._core. Accept both, so that a
    # checkpoint written with one loads with the other.
    numpy_functions = [
        (function, f'numpy.{core}.multiarray.{name}')
        for core in ('core', '_core')
        for function, name in (
            (rebuild_array, '_reconstruct'),
            (rebuild_scalar, 'scalar'),
        )
    ]
    # The object dtype is left out: its elements could be anything.
    numpy_classes = [np.ndarray, np.dtype]
    numpy_classes += {type(np.dtype(code)) for code in _DTYPES}
    return [
        *_METHODS,
        (_method_of_mmengine, 'builtins.getattr'),
        *numpy_functions,
        *numpy_classes,
    ]


def _method_of_mmengine(owner: type, name: str) -> Callable:
    """Replace ``getattr``; return only the listed methods."""
    if isinstance(owner, type) and name in _METHODS.get(owner, ()):
        return getattr(owner, name)
    raise pickle.UnpicklingError(
        f'The checkpoint calls getattr({owner!r}, {name!r}). The only methods '
        'accepted are '
        + ', '.join(
            f'{cls.__name__}.{method}'
            for cls, methods in _METHODS.items()
            for method in methods
        )
        + '. Use torch.load(..., weights_only=False) only if you trust its source.'
    )
