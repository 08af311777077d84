# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmengine scales the learning rate of the optimizer, but not those of schedules."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from . import wrap_once

# The arguments of mmengine's schedulers that are learning rates. All others are factors
# of these or of the optimizer's learning rate.
_RATES = ('eta_max', 'eta_min', 'min_value')


def apply_scaled_rates() -> bool:
    """Make ``--auto-scale-lr`` scale the learning rates in ``param_scheduler``, too.

    These are ``eta_max`` of ``OneCycleLR``, which replaces the optimizer's learning
    rate, and the lower bounds of ``CosineAnnealingLR``, ``CosineRestartLR``, ``PolyLR``
    (``eta_min``) and ``ReduceOnPlateauLR`` (``min_value``). The log shows each change.
    The value logged as ``base_lr`` is scaled, too.

    Symptom: the log shows ``Scaling the original LR by 2.0``, but ``OneCycleLR`` trains
    at the original learning rate.

    Upstream: not reported.

    Delete when: the oldest supported mmengine scales them.
    """
    return wrap_once(Runner, 'scale_lr', _with_schedules)


def _with_schedules(
    method: Callable,
    self: Runner,
    optim_wrapper: OptimWrapper,
    auto_scale_lr: dict | None = None,
) -> None:
    method(self, optim_wrapper, auto_scale_lr)
    if not (auto_scale_lr or {}).get('enable', False):
        return
    loader = self._train_dataloader
    batch_size = (
        loader.batch_size if isinstance(loader, DataLoader) else loader['batch_size']
    )
    ratio = self.world_size * batch_size / auto_scale_lr['base_batch_size']
    wrappers = (
        optim_wrapper.values()
        if isinstance(optim_wrapper, OptimWrapperDict)
        else [optim_wrapper]
    )
    for each in wrappers:
        if each.base_param_settings is not None:
            each.base_param_settings['lr'] *= ratio
    for scheduler in _scheduler_configs(self.param_schedulers):
        _scale(scheduler, ratio)


def _scheduler_configs(schedulers: Any) -> Iterator[dict]:
    if isinstance(schedulers, dict) and 'type' in schedulers:
        yield schedulers
    elif isinstance(schedulers, dict):
        for each in schedulers.values():
            yield from _scheduler_configs(each)
    elif isinstance(schedulers, list | tuple):
        for each in schedulers:
            yield from _scheduler_configs(each)


def _scale(scheduler: dict, ratio: float) -> None:
    kind = scheduler['type']
    cls = PARAM_SCHEDULERS.get(kind) if isinstance(kind, str) else kind
    # Momentum schedulers have bounds with the same names.
    if not (issubclass(cls, LRSchedulerMixin) or scheduler.get('param_name') == 'lr'):
        return
    name = cls.__name__
    if not cls.__module__.startswith('mmengine.optim.scheduler.'):
        print_log(
            f'Only the options {", ".join(_RATES)} of {name} are scaled. Scale any '
            'other learning rates yourself.',
            logger='current',
            level=logging.WARNING,
        )
    for option in _RATES:
        value = scheduler.get(option)
        if not value:
            continue
        # A list has one value per parameter group.
        scaled = (
            [each * ratio for each in value]
            if isinstance(value, list | tuple)
            else value * ratio
        )
        print_log(
            f'Scaling {option} of {name} by {ratio}: from {value} to {scaled}.',
            logger='current',
        )
        scheduler[option] = scaled
