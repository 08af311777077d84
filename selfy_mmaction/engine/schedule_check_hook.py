# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Check that the schedules fit the length of the training."""

from collections.abc import Iterator

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.optim.scheduler import param_scheduler as kinds
from mmengine.runner import EpochBasedTrainLoop, Runner

# After their end the rate is the one to train with: they are warm-ups.
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

    ``train_cfg.max_epochs`` on the command line changes the length of the training, not
    the ``total_steps``, ``T_max``, ``end`` and ``milestones`` of its schedules.
    Refused before the first batch is what would stop in the middle or train at a rate
    of about 0; the log warns of what is cut off, never reached, or rises again. A
    resumed training has the schedules of its checkpoint.

    Raises:
        ValueError: A ``OneCycleLR`` has fewer steps than the training, or the last
            schedule is at its minimum of about 0 before the end of the training.
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
                        '. The schedules are those of the checkpoint: resume with the '
                        'max_epochs it was trained with, or start a new training with '
                        'load_from'
                    )
                if fatal:
                    raise ValueError(problem)
                runner.logger.warning(problem)


def _problems(
    series: str, schedulers: list[kinds._ParamScheduler], runner: Runner
) -> Iterator[tuple[bool, str]]:
    """What does not fit, and whether training would be in vain."""
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
                    f'{total}, and it cannot go on after its last step. Leave '
                    'total_steps out, or make it as long as the training: '
                    f'{series}.{index}.total_steps',
                )
        elif isinstance(scheduler, kinds.CosineAnnealingParamScheduler):
            planned, option = scheduler.T_max, 'T_max'
            if planned < steps:
                yield (
                    False,
                    f'{name} is at its minimum after {show(planned, scheduler)} '
                    f'(T_max) and rises again, because {total}. Leave T_max out, or '
                    f'set {series}.{index}.T_max',
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
                f'made for {show(planned, scheduler)}, but {total}. Leave {option} '
                f'out, or set {series}.{index}.{option}',
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
    in_vain = isinstance(scheduler, _TO_MINIMUM) and not (
        getattr(scheduler, 'eta_min', None) or getattr(scheduler, 'eta_min_ratio', None)
    )
    rate = 'about 0' if in_vain else 'what it is then'
    yield (
        in_vain,
        f'{name} ends after {show(end, scheduler)}, but {total}: the learning rate '
        f'would stay at {rate}. Leave its end out, so that it ends with the training, '
        'or set all of param_scheduler for the new length',
    )
