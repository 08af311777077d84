# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import re

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.optim import build_optim_wrapper
from torch import nn

from selfy_mmaction.compat import optimizer_options

TSM = 'TSMOptimWrapperConstructor'
SWIN = 'SwinOptimWrapperConstructor'
DEFAULT = 'DefaultOptimWrapperConstructor'
LAYER_DECAY = 'LearningRateDecayOptimizerConstructor'
BLOCKS = dict(inserted_blocks=dict(lr_mult=10))


def test_custom_keys_are_ignored_without_the_workaround(symptoms):
    assert symptoms['optimizer_options']['before'] == [0.1]
    assert symptoms['optimizer_options']['after'] == [1.0]


@pytest.fixture(scope='module')
def model():
    backbone = dict(
        type='ResNetTSMSELFY',
        depth=18,
        base_channels=4,
        pretrained=None,
        pretrained2d=False,
        num_segments=2,
        selfy=dict(after='res3', block=dict(offsets=(0, 1), reduced_channels=4)),
    )
    head = dict(type='TSMHead', num_classes=3, in_channels=32, num_segments=2)
    return MODELS.build(dict(type='Recognizer2D', backbone=backbone, cls_head=head))


def build(model, constructor, **options):
    return build_optim_wrapper(
        model,
        dict(
            constructor=constructor,
            optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.1),
            paramwise_cfg=options,
        ),
    )


def settings(model, constructor, **options):
    """Return learning rate and weight decay by parameter name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {}
    for group in build(model, constructor, **options).optimizer.param_groups:
        for parameter in group['params']:
            name = names[id(parameter)]
            assert name not in found
            found[name] = (group['lr'], group['weight_decay'])
    assert set(found) == set(names.values())
    return found


@pytest.mark.parametrize('fc_lr5', [True, False])
@pytest.mark.parametrize('factor', [10, 0])
def test_custom_key_multiplies_the_values_of_tsm(fc_lr5, factor, model):
    plain = settings(model, TSM, fc_lr5=fc_lr5)
    keys = {'inserted_blocks': dict(lr_mult=factor), 'layer1': dict(decay_mult=3)}
    found = settings(model, TSM, fc_lr5=fc_lr5, custom_keys=keys)
    assert any('inserted_blocks' in name for name in plain)
    for name, (lr, decay) in plain.items():
        times = factor if 'inserted_blocks' in name else 1
        decay_times = 3 if 'layer1' in name else 1
        assert found[name] == (lr * times, decay * decay_times), name


def test_longest_key_wins(model):
    keys = dict(BLOCKS, integration=dict(lr_mult=3))
    keys['inserted_blocks.layer2'] = dict(lr_mult=5)
    plain = settings(model, TSM, fc_lr5=False)
    found = settings(model, TSM, fc_lr5=False, custom_keys=keys)
    for name, (lr, decay) in plain.items():
        times = 5 if 'inserted_blocks' in name else 1
        assert found[name] == (lr * times, decay), name


def test_groups_without_custom_keys_are_those_of_the_host(model):
    groups = build(model, TSM, fc_lr5=True).optimizer.param_groups
    # From its docstring, times 0.01: first convolution, other layers, norms,
    # classifier.
    assert [(g['lr'], g['weight_decay']) for g in groups] == [
        (0.01, 0.1),
        (0.02, 0),
        (0.01, 0.1),
        (0.02, 0),
        (0.01, 0),
        (0.05, 0.1),
        (0.1, 0),
    ]


def test_other_options_reach_the_optimizer(model):
    keys = dict(inserted_blocks=dict(momentum=0.5))
    groups = build(model, TSM, fc_lr5=False, custom_keys=keys).optimizer.param_groups
    assert {group['momentum'] for group in groups if group['params']} == {0.9, 0.5}


@pytest.mark.parametrize('constructor', [SWIN, DEFAULT])
def test_options_shown_in_the_docs_for_other_constructors(constructor, model):
    options = BLOCKS if constructor == SWIN else dict(custom_keys=BLOCKS)
    for name, (lr, _) in settings(model, constructor, **options).items():
        assert lr == pytest.approx(0.1 if 'inserted_blocks' in name else 0.01), name


@pytest.mark.parametrize(
    ('constructor', 'options', 'message'),
    [
        (TSM, dict(fc_lr_5=True, fc_lr5=True), "'fc_lr_5'.*did you mean 'fc_lr5'"),
        (TSM, dict(fc_lr5=True, custom_key=BLOCKS), "did you mean 'custom_keys'"),
        (TSM, dict(fc_lr5=True, norm_decay_mult=0), "option 'norm_decay_mult'; exp"),
        (TSM, dict(fc_lr5=True, inserted_blocks=dict(lr_mult=2)), "'inserted_blocks'"),
        (TSM, dict(custom_keys=BLOCKS), 'lacks fc_lr5'),
        (DEFAULT, dict(fc_lr5=True), "unknown option 'fc_lr5'"),
        (DEFAULT, dict(bias_lr_mul=2), "did you mean 'bias_lr_mult'"),
        (LAYER_DECAY, dict(custom_keys=BLOCKS), "unknown option 'custom_keys'"),
        (SWIN, dict(custom_keys=BLOCKS), 'directly in paramwise_cfg'),
        (SWIN, dict(fc_lr5=True), "'fc_lr5': True; expected a dict"),
        (SWIN, dict(inserted_block=3), "'inserted_block': 3; expected a dict"),
        (SWIN, dict(backbon_=dict(lr_mult=3)), "did you mean 'backbone'"),
        (SWIN, dict(backbone=dict(lr=3)), "'lr' for 'backbone'"),
    ],
)
def test_unknown_options_are_rejected(constructor, options, message, model):
    with pytest.raises(ValueError, match=message):
        build(model, constructor, **options)


@pytest.mark.parametrize('constructor', [TSM, DEFAULT])
@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (dict(inserted_block_=dict(lr_mult=2)), "did you mean 'inserted_blocks'"),
        (dict(inserted_blocks=10), "'inserted_blocks': 10; expected a dict"),
        (dict(inserted_blocks=dict(lr_mul=2)), "'lr_mul'.*did you mean 'lr_mult'"),
    ],
)
def test_custom_keys_without_effect_are_rejected(constructor, keys, message, model):
    options = dict(fc_lr5=False) if constructor == TSM else {}
    with pytest.raises(ValueError, match=message):
        build(model, constructor, custom_keys=keys, **options)


def test_unused_keys_of_mmaction2_configs_only_warn(model, monkeypatch):
    messages = []
    monkeypatch.setattr(
        optimizer_options,
        'print_log',
        lambda message, **kwargs: messages.append(message),
    )
    build(model, SWIN, absolute_pos_embed=dict(decay_mult=0.0))
    assert "'absolute_pos_embed', which matches no parameter name" in messages[0]


class Scaled(nn.Module):
    """Module with a parameter and a layer."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.fc = nn.Linear(2, 2)


def test_parameter_in_no_group_is_rejected():
    net = nn.Sequential(nn.Conv2d(3, 2, 1), Scaled())
    with pytest.raises(ValueError, match=re.escape('never be trained: 1.scale.')):
        build(net, TSM, fc_lr5=False)
    build(net, DEFAULT, bias_lr_mult=2)
    net[1].scale.requires_grad = False
    build(net, TSM, fc_lr5=False)


def test_fc_lr5_is_rejected_if_the_last_layer_is_a_block(model):
    block = dict(type='SELFYBlock', offsets=(0, 1), reduced_channels=4)
    around = MODELS.build(
        dict(
            type='InsertBlocks',
            backbone=dict(
                type='Recognizer2D',
                backbone=dict(type='ResNet', depth=18),
                cls_head=dict(type='TSNHead', num_classes=3, in_channels=512),
            ),
            blocks=[dict(after='backbone.layer2', block=block)],
            input_shape=(2, 3, 64, 64),
        )
    )
    with pytest.raises(ValueError, match=r'fc_lr5=True in .* but .inserted_blocks'):
        build(around, TSM, fc_lr5=True)
    build(around, TSM, fc_lr5=False)
