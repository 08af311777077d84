# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Workarounds that let mmaction2 and mmengine run on current torch and numpy.

One file per workaround. Each function does nothing if its symptom is absent, may be
called repeatedly, returns whether this call changed anything, and documents when it can
be deleted. The installed files of mmaction2 and mmengine are not modified.
"""

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

# The order matters: mmaction.models can be imported only after the first three, and
# only the last four import it.
WORKAROUNDS = (
    'host_warnings',
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

__all__ = ['WORKAROUNDS', 'apply_workaround', 'apply_workarounds']


def apply_workaround(name: str) -> bool:
    """Apply one workaround if it is needed.

    Args:
        name: One of :data:`WORKAROUNDS`.

    Returns:
        Whether this call applied it. False if it is not needed or was applied before.

    Raises:
        ImportError: If mmaction2, mmengine, mmcv or torch is missing or cannot be
            imported; ``python -m selfy_mmaction.doctor`` shows how to fix it.
    """
    # Imported here and not above: the last four import mmaction.models, which
    # needs the first one applied.
    return getattr(import_module(f'{__name__}.{name}'), f'apply_{name}')()


def apply_workarounds() -> dict[str, bool]:
    """Apply every workaround that is needed.

    Returns:
        The result of :func:`apply_workaround` for each name, in order.

    Raises:
        ImportError: If :func:`apply_workaround` raises it.
    """
    return {name: apply_workaround(name) for name in WORKAROUNDS}


def wrap_once(owner: Any, name: str, around: Callable) -> bool:
    """Wrap a function of the host, unless it is wrapped already.

    Args:
        owner: Class or module of the host.
        name: Name of the function in ``owner``.
        around: Wrapper, called with the original function and all arguments.

    Returns:
        Whether this call wrapped it.
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
