# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Closes gaps between mmaction2, mmengine and today's torch and numpy.

One file per gap. Each function acts only where its gap is present, can be called
again, returns whether it acted now, and says in its docstring when it can be deleted.
Nothing in mmaction2's or mmengine's installed files is changed.
"""

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

# In this order: mmaction.models can be imported only after the first two, and
# only the last four import it.
GAPS = (
    'mmcv_version',
    'missing_drn',
    'safe_checkpoints',
    'damaged_checkpoints',
    'latest_checkpoint',
    'atomic_writes',
    'scaled_rates',
    'late_schedules',
    'optimizer_options',
    'color_jitter',
    'cpu_distributed',
    'cpu_amp',
    'package_configs',
    'torchvision_urls',
    'bfloat16_scores',
    'testing_views',
    'numpy_names',
    'multisports_frames',
)

__all__ = ['GAPS', 'close_gap', 'close_gaps']


def close_gap(gap: str) -> bool:
    """Close one gap if it is present.

    Args:
        gap (str): One of :data:`GAPS`.

    Returns:
        bool: Whether it was closed by this call. False means not present, or
            closed earlier.

    Raises:
        ImportError: If mmaction2, mmengine, mmcv or torch is missing or does not
            import; ``python -m selfy_mmaction.doctor`` says how to mend it.
    """
    # Imported here and not above: the last four import mmaction.models, which
    # needs the first one closed.
    return getattr(import_module(f'{__name__}.{gap}'), f'close_{gap}')()


def close_gaps() -> dict[str, bool]:
    """Close every gap that is present.

    Returns:
        dict[str, bool]: The answer of :func:`close_gap` for each gap, in order.

    Raises:
        ImportError: As :func:`close_gap`.
    """
    return {gap: close_gap(gap) for gap in GAPS}


def wrap_once(owner: Any, name: str, around: Callable) -> bool:
    """Put a function around one of the host, unless it is there already.

    Args:
        owner: A class or module of the host.
        name: Name of the function in it.
        around: Is called in its place with the function itself and all arguments.

    Returns:
        Whether it was put there now.
    """
    function = getattr(owner, name)
    if getattr(function, 'around', None) is around:
        return False

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return around(function, *args, **kwargs)

    wrapper.around = around
    is_static = isinstance(vars(owner).get(name), staticmethod)
    setattr(owner, name, staticmethod(wrapper) if is_static else wrapper)
    return True
