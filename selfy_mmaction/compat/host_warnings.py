# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The host warns of what it does itself and no user can change."""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

from mmengine.infer import BaseInferencer

from . import wrap_once

# (start of the message, category, module that warns)
_WARNINGS: tuple[tuple[str, type[Warning], str], ...] = (
    # mmcv-lite, of an operator that no recognizer needs.
    (r'Fail to import ``MultiScaleDef', UserWarning, r'mmcv\.cnn\.bricks\.transformer'),
    # mmengine's runner passes this argument to its own wrapper.
    (r'`broadcast_buffers` is deprecated', FutureWarning, r'mmengine\.model\.wrappers'),
    # DistributedDataParallel, of mmaction2's own ResNet: its pipeline leaves frames
    # channels-last, and so are the gradients of 1x1 convolutions. They are copied.
    (r'Grad strides do not match bucket view', UserWarning, r'torch\.autograd\.graph'),
)
# (module that logs, start of the message)
_MESSAGES = (
    # mmaction2 reads videos with these.
    ('mmengine.fileio.file_client', '"FileClient" will be deprecated'),
    ('mmengine.fileio.file_client', '"HardDiskBackend" is the alias'),
    # Of `test.py --dump`, which adds no metric to the results.
    ('mmengine.evaluator.metric', 'The prefix is not set in metric class DumpResults'),
)

_applied = False


def apply_host_warnings() -> bool:
    """Silence the warnings listed in this file, and no others.

    They tell a user to change code of the host, or to install another mmcv. Each is
    matched by the start of its message, its category and the module that gives it.

    Symptom: ``Fail to import ``MultiScaleDeformableAttention`` ... You should install
    ``mmcv`` rather than ``mmcv-lite```` when mmaction2 is imported, ``"FileClient" will
    be deprecated in future`` when a video is read, ``Failed to add <class
    'mmaction.visualization.video_backend.LocalVisBackend'>, please provide the
    `save_dir` argument`` from ``MMAction2Inferencer``, and similar.

    Upstream: not reported.

    Delete when: mmaction2 and mmengine no longer call what they deprecate, and the
    oldest supported mmcv-lite does not import operators.
    """
    global _applied
    changed = not _applied
    _applied = True
    for message, category, module in _WARNINGS:
        warnings.filterwarnings('ignore', message, category, module)
    for name in sorted({module for module, _ in _MESSAGES}):
        wrap_once(import_module(name), 'print_log', _drop_messages)
    wrap_once(BaseInferencer, '_init_visualizer', _without_folder)
    return changed


def _drop_messages(print_log: Callable, msg: Any, *args: Any, **kwargs: Any) -> None:
    if not str(msg).startswith(tuple(start for _, start in _MESSAGES)):
        print_log(msg, *args, **kwargs)


# An inferencer draws to the file that the user asks for. It has no folder for backends.
def _without_folder(init_visualizer: Callable, *args: Any, **kwargs: Any) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', r'Failed to add .*`save_dir`', UserWarning)
        return init_visualizer(*args, **kwargs)
