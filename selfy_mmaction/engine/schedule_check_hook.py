# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Check that the schedules match the length of the training."""

from collections.abc import Iterator

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.optim.scheduler import param_scheduler as kinds
from mmengine.runner import EpochBasedTrainLoop, Runner

# Warm-ups: they end at the learning rate to train with.
_WARM_UPS = (kinds.LinearParamScheduler, kinds.ConstantParamScheduler)
_TO_MINIMUM = (
    kinds.CosineAnnealingParamScheduler,
    kinds.CosineRestartParamScheduler,
    kinds.OneCycleParamScheduler,
    kinds.PolyParamScheduler,
)


@HOOKS.register_module()
class ScheduleCheckHook(Hook):
    """Compare ``param_scheduler`` with ``max_epochs`` (or ``max_iters``).

    ``train_cfg.max_epochs`` on the command line changes the length of the training, but
    not ``total_steps``, ``T_max``, ``end`` and ``milestones`` of its schedules. Raises
    an error before the first batch if training would stop early or continue at a
    learning rate of about 0. Warns if a schedule is cut off, never starts, misses a
    milestone, or rises again. A resumed training has the schedules of its checkpoint.

    Raises:
        ValueError: If a ``OneCycleLR`` has fewer steps than the training, or the last
            schedule reaches its minimum of about 0 before the end of the training.

    Example:
        >>> import tempfile
        >>> from mmengine.runner import Runner
        >>> import selfy_mmaction  # registers the hooks
        >>> backbone = dict(type='ResNetSELFY', depth=18, base_channels=8)
        >>> loader = dict(dataset=range(8), sampler=dict(type='DefaultSampler'))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     runner = Runner(
        ...         model=dict(type='Recognizer2D', backbone=backbone),
        ...         work_dir=folder,
        ...         train_dataloader=loader,
        ...         train_cfg=dict(by_epoch=True, max_epochs=50),
        ...         optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        ...         param_scheduler=dict(type='CosineAnnealingLR', T_max=40, end=40),
        ...         custom_hooks=[dict(type='ScheduleCheckHook')],
        ...         default_scope='mmaction',
        ...         log_level='ERROR',
        ...     )
        ...     runner.train()
        Traceback (most recent call last):
            ...
        ValueError: param_scheduler.0 (CosineAnnealingLR) ends after 40 epochs, but the
        training has 50 epochs: the learning rate would stay at about 0. ...
    """

    def before_train(self, runner: Runner) -> None:
        """Check all schedules."""
        schedulers = runner.param_schedulers or []
        if isinstance(schedulers, dict):
            # One list per optimizer.
            series = [(f'param_scheduler.{key}', schedulers[key]) for key in schedulers]
        else:
            series = [('param_scheduler', schedulers)]
        for name, each in series:
            for fatal, problem in _problems(name, each, runner):
                if runner.iter > 0:
                    problem += (
                        '. The schedules are those of the checkpoint: resume with its '
                        'max_epochs, or start a new training with load_from'
                    )
                if fatal:
                    raise ValueError(problem)
                runner.logger.warning(problem)


def _problems(
    series: str, schedulers: list[kinds._ParamScheduler], runner: Runner
) -> Iterator[tuple[bool, str]]:
    """Yield whether a problem makes training useless, and its description."""
    epoch_length = len(runner.train_dataloader)
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)

    def show(steps: float, scheduler: kinds._ParamScheduler) -> str:
        if scheduler.by_epoch:
            return f'{steps} epochs'
        if by_epoch and steps % epoch_length == 0:
            return f'{steps // epoch_length} epochs ({steps} iterations)'
        return f'{steps} iterations'

    last_end, last = 0.0, None
    for index, scheduler in enumerate(schedulers):
        length = runner.max_epochs if scheduler.by_epoch else runner.max_iters
        total = f'the training has {show(length, scheduler)}'
        name = f'{series}.{index} ({type(scheduler).__name__})'
        begin, end = scheduler.begin, min(scheduler.end, length)
        if begin >= length:
            yield False, f'{name} begins after {show(begin, scheduler)}, but {total}'
            continue
        steps = end - begin
        if isinstance(scheduler, kinds.OneCycleParamScheduler):
            planned, option = scheduler.total_steps, 'total_steps'
            if planned < steps:
                yield (
                    True,
                    f'{name} has total_steps for {show(planned, scheduler)}, but '
                    f'{total}, and the schedule cannot continue after its last step. '
                    'Omit total_steps, or set it to the length of the training: '
                    f'{series}.{index}.total_steps',
                )
        elif isinstance(scheduler, kinds.CosineAnnealingParamScheduler):
            planned, option = scheduler.T_max, 'T_max'
            if planned < steps:
                yield (
                    False,
                    f'{name} is at its minimum after {show(planned, scheduler)} '
                    f'(T_max) and rises again, because {total}. Omit T_max, or set '
                    f'{series}.{index}.T_max',
                )
        elif isinstance(scheduler, kinds.CosineRestartParamScheduler):
            planned, option = sum(scheduler.periods), 'periods'
            end = min(end, begin + planned)
        elif scheduler.end < kinds.INF:
            planned, option = scheduler.end - begin, 'end'
        else:
            planned, option = steps, 'end'
        if planned > steps:
            yield (
                False,
                f'{name} is cut off after {show(steps, scheduler)}: its {option} is '
                f'for {show(planned, scheduler)}, but {total}. Omit {option}, or set '
                f'{series}.{index}.{option}',
            )
        if isinstance(scheduler, kinds.MultiStepParamScheduler):
            late = [each for each in sorted(scheduler.milestones) if each >= steps]
            if late:
                milestones = ', '.join(show(each, scheduler) for each in late)
                yield (
                    False,
                    f'{name} never reaches its milestones at {milestones}, because '
                    f'{total}. Set {series}.{index}.milestones',
                )
        if scheduler.param_name == 'lr' and end / length >= last_end:
            last_end, last = end / length, (name, scheduler, end, total)
    if last is None or last_end >= 1:
        return
    name, scheduler, end, total = last
    if isinstance(scheduler, _WARM_UPS):
        return
    useless = isinstance(scheduler, _TO_MINIMUM) and not (
        getattr(scheduler, 'eta_min', None) or getattr(scheduler, 'eta_min_ratio', None)
    )
    rate = 'about 0' if useless else 'its last value'
    yield (
        useless,
        f'{name} ends after {show(end, scheduler)}, but {total}: the learning rate '
        f'would stay at {rate}. Omit its end, so that it ends with the training, or '
        'adapt param_scheduler to the new length',
    )
