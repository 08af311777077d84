# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmaction.registry import HOOKS
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from tiny_training import make_runner

CONFIGS = Path(__file__).parents[2] / 'configs'
LEAVES = sorted(
    str(path.relative_to(CONFIGS))
    for path in CONFIGS.glob('**/*.py')
    if '_base_' not in path.parts
)
EPOCH_LENGTH = 10
IN_ITERATIONS = dict(by_epoch=True, convert_to_iter_based=True)


def make(schedule, max_epochs, lr=0.1):
    """Build a runner before training, without data and model."""
    loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    loop._max_epochs, loop._max_iters = max_epochs, max_epochs * EPOCH_LENGTH
    warnings = []
    runner = SimpleNamespace(
        _train_loop=loop,
        train_loop=loop,
        train_dataloader=range(EPOCH_LENGTH),
        max_epochs=max_epochs,
        max_iters=max_epochs * EPOCH_LENGTH,
        iter=0,
        warnings=warnings,
        logger=SimpleNamespace(debug=lambda text: None, warning=warnings.append),
    )
    weight = torch.nn.Parameter(torch.zeros(1))
    runner.optim_wrapper = OptimWrapper(torch.optim.SGD([weight], lr=lr))
    runner.param_schedulers = Runner._build_param_scheduler(
        runner, schedule, runner.optim_wrapper
    )
    return runner


def check(schedule, max_epochs):
    runner = make(schedule, max_epochs)
    HOOKS.build(dict(type='ScheduleCheckHook')).before_train(runner)
    return runner.warnings


def rates(schedule, max_epochs, lr):
    """Return the learning rate per iteration, in mmengine's order of steps."""
    runner = make(schedule, max_epochs, lr)
    (group,) = runner.optim_wrapper.optimizer.param_groups
    found = []
    for iteration in range(1, max_epochs * EPOCH_LENGTH + 1):
        found.append(group['lr'])
        runner.optim_wrapper.optimizer.step()
        for scheduler in runner.param_schedulers:
            if not scheduler.by_epoch or iteration % EPOCH_LENGTH == 0:
                scheduler.step()
    return found


@pytest.mark.parametrize('name', LEAVES, ids=lambda name: name[-60:])
def test_every_config_passes(name):
    config = Config.fromfile(CONFIGS / name)
    assert check(config.param_scheduler, config.train_cfg.max_epochs) == []


def base(name):
    return Config.fromfile(CONFIGS / '_base_' / 'schedules' / name)


@pytest.mark.parametrize('max_epochs', [1, 3, 6, 14])
def test_motion_schedule_spans_all_epochs(max_epochs):
    schedule = base('adamw_6e.py').param_scheduler
    assert check(schedule, max_epochs) == []
    found = rates(schedule, max_epochs, lr=4e-3)
    # The reference is torch's schedule with as many steps.
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=4e-3)
    steps = max_epochs * EPOCH_LENGTH
    torch_schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 4e-3, steps, pct_start=0.15, cycle_momentum=False
    )
    expected = []
    for _ in range(steps):
        expected.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        if len(expected) < steps:
            torch_schedule.step()
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ('name', 'epochs'),
    [('30e', 30), ('40e', 40), ('65e', 65), ('30e', 12), ('30e', 100)],
)
def test_cosine_ends_with_the_training(name, epochs):
    schedule = base(f'sgd_cosine_{name}.py').param_scheduler
    assert check(schedule, epochs) == []
    found = rates(schedule, epochs, lr=0.01)
    warm_up, cosine = 10 * EPOCH_LENGTH, (epochs - 10) * EPOCH_LENGTH
    assert found[0] == pytest.approx(0.001)
    assert found[warm_up] == pytest.approx(0.01)
    for step in range(cosine):
        expected = 0.005 * (1 + math.cos(math.pi * step / cosine))
        assert found[warm_up + step] == pytest.approx(expected, abs=1e-9)


ONE_CYCLE = dict(type='OneCycleLR', eta_max=0.1, total_steps=6, **IN_ITERATIONS)
COSINE = dict(type='CosineAnnealingLR', T_max=6, end=6, **IN_ITERATIONS)


@pytest.mark.parametrize(
    ('schedule', 'message'),
    [
        (ONE_CYCLE, r'total_steps for 6 epochs \(60 iterations\).* has 14 epochs'),
        (dict(ONE_CYCLE, end=6), 'ends after 6 epochs .* about 0'),
        (dict(type='OneCycleLR', eta_max=0.1, total_steps=6), 'for 6 epochs, but'),
        (COSINE, 'ends after 6 epochs .* about 0'),
        (dict(COSINE, eta_min_ratio=0), 'about 0'),
        (dict(type='PolyLR', end=6), 'ends after 6 epochs, but .* about 0'),
        (dict(type='CosineRestartLR', periods=[2, 4], eta_min=0,
              restart_weights=[1, 1]), 'ends after 6 epochs'),
    ],
)  # fmt: skip
@pytest.mark.parametrize('warm_up', [True, False])
def test_schedule_that_stops_or_stays_at_zero_is_rejected(schedule, message, warm_up):
    schedules = [dict(type='LinearLR', end=1)] if warm_up else []
    schedules.append(schedule)
    with pytest.raises(ValueError, match=message) as caught:
        check(schedules, 14)
    assert f'param_scheduler.{int(warm_up)} (' in str(caught.value)
    assert check(schedules, 6) == []


STEPS = dict(type='MultiStepLR', milestones=[30, 40], end=50)


@pytest.mark.parametrize(
    ('schedule', 'epochs', 'messages'),
    [
        (ONE_CYCLE, 3, ['cut off after 3 epochs .*total_steps is for 6 epochs']),
        (COSINE, 3, ['cut off after 3 epochs .*T_max is for 6 epochs']),
        (dict(type='CosineAnnealingLR', T_max=6), 14, ['minimum after 6 .* rises ag']),
        (dict(COSINE, eta_min=0.01), 14, ['ends after 6 epochs .* its last value']),
        (STEPS, 35, ['cut off after 35', 'never reaches its milestones at 40 epochs']),
        (STEPS, 20, ['cut off after 20', 'milestones at 30 epochs, 40 epochs']),
        (STEPS, 60, ['ends after 50 epochs, but the training has 60 epochs']),
        (dict(type='StepLR', step_size=2, begin=9), 6, ['begins after 9 epochs']),
        (dict(COSINE, begin=5), 5, ['begins after 5 epochs .* has 5 epochs']),
        (dict(type='LinearLR', end=10), 6, ['cut off after 6 epochs: its end is']),
    ],
)
def test_mismatch_triggers_a_warning(schedule, epochs, messages):
    warnings = check([schedule], epochs)
    assert len(warnings) == len(messages)
    for text, message in zip(warnings, messages, strict=True):
        assert re.search(message, text), text


@pytest.mark.parametrize(
    'schedules',
    [
        [],
        None,
        [dict(type='LinearLR', end=2)],
        [dict(COSINE, eta_min=0.01), dict(type='ConstantLR', begin=6)],
        [dict(type='ExponentialLR', gamma=0.9)],
        [dict(type='ReduceOnPlateauLR', monitor='loss')],
    ],
)
def test_matching_schedules_pass(schedules):
    assert check(schedules or [], 14) == []


@pytest.mark.parametrize('resumed', [False, True])
def test_training_is_rejected_before_its_first_batch(resumed, tmp_path):
    schedule = dict(type='OneCycleLR', eta_max=0.1, **IN_ITERATIONS)
    if resumed:
        # The checkpoint stores its length: two epochs at a rate of 0 without the hook.
        make_runner(tmp_path, max_epochs=1, param_scheduler=schedule).train()
        message = 'ends after 1 epochs .* those of the checkpoint'
    else:
        schedule['total_steps'] = 1
        message = 'total_steps for 1 epochs'
    runner = make_runner(
        tmp_path, max_epochs=3, param_scheduler=schedule, resume=resumed
    )
    with pytest.raises(ValueError, match=message):
        runner.train()
    assert runner.iter == (2 if resumed else 0)
