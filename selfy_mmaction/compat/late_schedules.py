# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmengine cannot build a schedule that begins after the end of training."""

from collections.abc import Callable
from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from . import wrap_once


def apply_late_schedules() -> bool:
    """Allow training for fewer epochs than the warm-up before a schedule takes.

    A schedule without ``end`` ends with the training. If that is before its ``begin``,
    the schedule never starts, and ``ScheduleCheckHook`` logs it.

    Symptom: ``ValueError: end should be larger than begin, but got begin=10, end=5``
    for ``train_cfg.max_epochs=5`` and a schedule with ``begin=10``.

    Upstream: not reported.

    Delete when: the oldest supported mmengine builds such a schedule, or names it in
    its error.
    """
    return wrap_once(Runner, '_build_param_scheduler', _with_an_end)


def _with_an_end(
    method: Callable, self: Runner, scheduler: Any, optim_wrapper: OptimWrapper
) -> list:
    schedulers = scheduler if isinstance(scheduler, list | tuple) else [scheduler]
    completed = []
    for each in schedulers:
        if isinstance(each, dict) and 'end' not in each:
            by_epoch = each.get('by_epoch', True)
            length = self.max_epochs if by_epoch else self.max_iters
            begin = each.get('begin', 0)
            if begin >= length:
                each = dict(each, end=begin + 1)
        completed.append(each)
    return method(self, completed, optim_wrapper)
