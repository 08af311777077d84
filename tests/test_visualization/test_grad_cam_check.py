# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch
from grad_cam_models import IS_2D, build, make_clip
from scipy.stats import rankdata

from selfy_mmaction.visualization.grad_cam import grad_cam
from selfy_mmaction.visualization.grad_cam_check import (
    RandomizationStep,
    randomization_check,
    show_randomization,
)

STAGES = [f'backbone.layer{stage}' for stage in (4, 3, 2, 1)]
WITH_BLOCK = [*STAGES[:2], 'backbone.inserted_blocks.layer2', *STAGES[2:]]


@pytest.mark.parametrize(
    ('name', 'stages'),
    [
        ('tsn_r18_slim', STAGES),
        ('selfy_slowonly_r18_slim', WITH_BLOCK),
    ],
)
def test_map_changes_if_and_only_if_weights_change(name, stages):
    model, inputs = build(name), make_clip(IS_2D[name])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    steps = randomization_check(model, inputs, label=3)
    # From the head down to the first layer, in the order of the data flow.
    assert [step.part for step in steps] == [
        'nothing',
        'cls_head',
        *stages,
        'backbone.conv1',
    ]
    assert steps[0].correlation == pytest.approx(1)
    assert all(step.correlation < 0.95 for step in steps[1:])
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


def test_correlation_of_the_first_step_is_that_of_ranks():
    model, inputs = build('tsn_r18_slim'), make_clip()
    original = grad_cam(model, inputs, label=3)
    step = randomization_check(model, inputs, label=3)[1]
    # Do what the check does: shuffle the parameters of the head.
    generator = torch.Generator().manual_seed(0)
    for parameter in model.cls_head.parameters():
        order = torch.randperm(parameter.numel(), generator=generator)
        parameter.data = parameter.data.flatten()[order].reshape(parameter.shape)
    maps = [original.maps, grad_cam(model, inputs, label=3).maps]
    ranks = [rankdata(each) for each in maps]
    expected = np.corrcoef(ranks)[0, 1]
    assert step == ('cls_head', pytest.approx(expected, abs=1e-6))


def test_seed():
    model, inputs = build('tsn_r18_slim'), make_clip()
    one, other = (randomization_check(model, inputs, label=3, seed=s) for s in (0, 1))
    assert one[0] == other[0]
    assert one[1:] != other[1:]


def test_empty_map_has_no_correlation(recwarn):
    model, inputs = build('tsn_r18_slim'), make_clip()
    with torch.no_grad():
        model.cls_head.fc_cls.weight.fill_(-1)
    steps = randomization_check(model, inputs)
    assert all(np.isnan(step.correlation) for step in steps)
    assert not [each for each in recwarn if 'constant' in str(each.message)]
    text = show_randomization(steps).splitlines()[1]
    assert text == '  nothing          none: nothing in the clip speaks for the class'


def test_text():
    steps = [RandomizationStep('nothing', 1.0), RandomizationStep('cls_head', -0.125)]
    lines = show_randomization(steps).splitlines()
    assert lines[1:] == ['  nothing    1.00', '  cls_head  -0.12']
