# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import pytest
from tiny_training import make_runner


def test_fewer_epochs_than_the_warm_up_fail_without_the_workaround(symptoms):
    seen = symptoms['late_schedules']
    assert seen['before'] == (
        'ValueError: end should be larger than begin, but got begin=10, end=5'
    )
    assert seen['after'] == [0, 10]


@pytest.mark.parametrize('by_epoch', [True, False])
def test_training_ends_during_the_warm_up(by_epoch, tmp_path):
    schedule = [
        dict(type='LinearLR', start_factor=0.5, end=100, by_epoch=by_epoch),
        dict(type='CosineAnnealingLR', begin=100, by_epoch=by_epoch),
    ]
    runner = make_runner(tmp_path, max_epochs=2, param_scheduler=schedule)
    runner.train()
    steps = 2 if by_epoch else 4
    lr = runner.optim_wrapper.get_lr()['lr'][0]
    assert lr == pytest.approx(0.1 * (0.5 + 0.5 * steps / 99))
