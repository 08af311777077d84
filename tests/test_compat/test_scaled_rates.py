# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import pytest
from mmengine.hooks import Hook
from mmengine.optim import CosineAnnealingLR
from mmengine.registry import PARAM_SCHEDULERS
from tiny_training import make_runner

from selfy_mmaction.compat import scaled_rates


def test_one_cycle_is_scaled_only_with_the_workaround(symptoms):
    # Learning rates of the optimizer and the schedule; both were 0.1.
    assert symptoms['scaled_rates']['before'] == [0.2, 0.1]
    assert symptoms['scaled_rates']['after'] == [0.2, 0.2]


def rates(work_dir, schedule, lr, scale=None, **optimizer):
    """Return the rate and momentum of all groups, and base_lr, per iteration."""
    seen = []

    class Keep(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            groups = runner.optim_wrapper.optimizer.param_groups
            base_lr = runner.optim_wrapper.get_lr().get('base_lr')
            seen.append([*[(g['lr'], g['momentum']) for g in groups], base_lr])

    runner = make_runner(
        work_dir,
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=0.1),
            **optimizer,
        ),
        param_scheduler=schedule,
        auto_scale_lr=scale,
        custom_hooks=[],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=9)),
    )
    runner.register_hook(Keep())
    runner.train()
    return seen


TWICE = dict(enable=True, base_batch_size=2)  # and 4 in the loader
IN_ITERATIONS = dict(by_epoch=True, convert_to_iter_based=True)


@pytest.mark.parametrize(
    ('schedule', 'absolute'),
    [
        (dict(type='OneCycleLR', total_steps=3, **IN_ITERATIONS), dict(eta_max=0.25)),
        (dict(type='CosineAnnealingLR', **IN_ITERATIONS), dict(eta_min=0.0625)),
        (dict(type='CosineAnnealingLR', eta_min_ratio=0.1, **IN_ITERATIONS), {}),
        (
            dict(type='CosineRestartLR', periods=[3], **IN_ITERATIONS),
            dict(eta_min=0.0625),
        ),
        (dict(type='PolyLR', **IN_ITERATIONS), dict(eta_min=0.0625)),
        (
            # The score never decreases.
            dict(type='ReduceOnPlateauLR', monitor='batches', patience=0),
            dict(min_value=0.0625),
        ),
        (dict(type='LinearLR', start_factor=0.25, end=2, **IN_ITERATIONS), {}),
        (dict(type='MultiStepLR', milestones=[1, 2]), {}),
        (
            dict(type='CosineAnnealingParamScheduler', param_name='lr'),
            dict(eta_min=0.0625),
        ),
        (dict(type='CosineAnnealingMomentum', eta_min=0.5), {}),
    ],
    ids=lambda value: value.get('type'),
)
def test_rates_equal_those_of_a_manually_scaled_config(schedule, absolute, tmp_path):
    by_hand = {option: 2 * rate for option, rate in absolute.items()}
    expected = rates(tmp_path / 'by hand', dict(schedule, **by_hand), lr=0.25)
    found = rates(tmp_path / 'auto', dict(schedule, **absolute), 0.125, TWICE)
    assert found == expected
    plain = rates(tmp_path / 'plain', dict(schedule, **absolute), lr=0.125)
    assert [lr for (lr, _), _ in found] == [2 * lr for (lr, _), _ in plain]


def test_parameter_groups_schedule_lists_and_logged_rate(tmp_path):
    def schedules(factor):
        return [
            dict(type='LinearLR', start_factor=0.5, end=1, **IN_ITERATIONS),
            dict(type='CosineAnnealingLR', begin=1, eta_min=0.0625 * factor),
        ]

    groups = dict(paramwise_cfg=dict(custom_keys=dict(fc=dict(lr_mult=4))))
    expected = rates(tmp_path / 'by hand', schedules(2), 0.25, **groups)
    assert rates(tmp_path / 'auto', schedules(1), 0.125, TWICE, **groups) == expected
    assert expected[3][-1] is not None


def test_nothing_is_scaled_if_disabled(tmp_path):
    schedule = dict(type='OneCycleLR', total_steps=3, eta_max=0.25, **IN_ITERATIONS)
    expected = rates(tmp_path / 'plain', schedule, lr=0.125)
    off = dict(enable=False, base_batch_size=2)
    assert rates(tmp_path / 'off', schedule, 0.125, off) == expected


def test_unknown_schedule_triggers_a_warning(monkeypatch):
    class OwnLR(CosineAnnealingLR):
        pass

    PARAM_SCHEDULERS.register_module(module=OwnLR)
    messages = []
    monkeypatch.setattr(
        scaled_rates, 'print_log', lambda message, **kwargs: messages.append(message)
    )
    own = dict(type='OwnLR', eta_min=[0.1, 0.2], floor=0.3)
    try:
        scaled_rates._scale(own, 2.0)
    finally:
        PARAM_SCHEDULERS.module_dict.pop('OwnLR')
    assert own == dict(type='OwnLR', eta_min=[0.2, 0.4], floor=0.3)
    assert 'Only the options eta_max, eta_min, min_value of OwnLR' in messages[0]
