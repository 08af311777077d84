# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Building a module with an invalid option raises an error that names it."""

import copy
import inspect
import re
from math import inf, nan

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModule

from selfy_mmaction.models.layers.building import Module, build

STEP = dict(in_channels=4)
# Required arguments of each module.
MODULES = {
    'ConvReduction': STEP,
    'LayerNormReduction': STEP,
    'STSSTransformation': {},
    'EmbeddedGaussianTransformation': STEP,
    'ConvTransformation': STEP,
    'DifferenceTransformation': {},
    'ConvExtraction': {},
    'MLPExtraction': {},
    'SoftArgmaxExtraction': {},
    'KernelSoftArgmaxExtraction': {},
    'IdentityExtraction': dict(out_channels=4),
    'ConvIntegration': dict(in_channels=4, out_channels=8, num_offsets=3),
    'MLPIntegration': dict(in_channels=4, out_channels=8, num_offsets=3),
    'FCIntegration': dict(in_channels=4, out_channels=8, num_offsets=3),
    'ReleasedIntegration': dict(in_channels=4, out_channels=8, num_offsets=3),
    'LiteIntegration': dict(in_channels=4, out_channels=8, num_offsets=3),
    'DepthwiseIntegration': dict(in_channels=4, out_channels=8, num_offsets=3),
    'UpsampleRestoration': dict(in_channels=4, out_channels=4),
    'TransposedConvRestoration': dict(in_channels=4, out_channels=8),
    'ExpansionRestoration': dict(in_channels=4, out_channels=8),
    'ResidualFusion': {},
    'ReplacementFusion': {},
    'SELFYBlock': STEP,
    'SELFYSBlock': STEP,
    'STCB': STEP,
    'LocalSelfAttentionBlock': STEP,
    'NonLocalBlock': STEP,
    'MultiHeadSelfAttentionBlock': dict(in_channels=16),
    'SequentialBlocks': dict(in_channels=4, blocks=[dict(type='STCB')]),
    'ParallelBlocks': dict(in_channels=4, blocks=[dict(type='STCB')]),
    'STSSEncoder': STEP,
    'HigherOrderSTSS': STEP,
    'MOSSBlock': STEP,
    'MotionModule': STEP,
    'ATMSimilarityBlock': STEP,
    'ATMDifferenceBlock': STEP,
    'MotionSqueezeBlock': STEP,
    'SELFYNeck': dict(in_channels=(4, 8), num_segments=8),
}
VALUES = [
    *(None, '', 'a', '4', -1, 0, 1.5, 4.0, nan, inf, 2**40, 2**40 + 1, True, object()),
    *([], [[1]], ['a'], [0], [4, 0], [2.0], {}, {'a': 1}, {'type': 'Unknown'}, {1: 2}),
    *([None], [{}]),
]
CONFIGS = {
    'reduction': [None, {}],
    **dict.fromkeys(
        ['transformation', 'extraction', 'integration', 'restoration'], [None, {}]
    ),
    'fusion': [None, {}],
    'block': [None, {}],
    'encoder': [None, {}],
    'norm_cfg': [None],
    'act_cfg': [None],
    'init_cfg': [None, {'type': 'Unknown'}],  # mmengine rejects it later
}
# Values among them that are valid.
VALID = {
    **CONFIGS,
    'offsets': [-1, 0, [0], [4, 0]],
    'temperature': [1.5, 4.0, 2**40, 2**40 + 1],
    'sigma': [1.5, 4.0, 2**40, 2**40 + 1],
    'eps': [1.5, 4.0, 2**40, 2**40 + 1],
    'max_distance': [0],
    'new': [True],
    'with_cp': [True],
    'zero_init_residual': [True],
    'layer_scale': [None, 1.5, 4.0, 2**40, 2**40 + 1],
    'level': [0],
    ('SELFYNeck', 'num_segments'): [None],
    ('MotionModule', 'integration'): [],
    **{(name, 'out_channels'): [None] for name in ('STSSEncoder', 'HigherOrderSTSS')},
    **{(name, 'hidden_channels'): [None] for name in ('HigherOrderSTSS', 'MOSSBlock')},
    ('ConvIntegration', 'channels'): [[]],
    ('MLPIntegration', 'channels'): [[]],
    **{
        (name, 'zero_init_last_norm'): [None]
        for name in ('SequentialBlocks', 'ParallelBlocks')
    },
    **{
        (name, 'zero_init_last_norm'): [True]
        for name in (
            *('NonLocalBlock', 'MultiHeadSelfAttentionBlock'),
            *('ATMSimilarityBlock', 'ATMDifferenceBlock'),
        )
    },
    **{
        (name, 'reduction'): []
        for name in ('NonLocalBlock', 'MultiHeadSelfAttentionBlock')
    },
}


def arguments(name):
    names = set(inspect.signature(MODELS.get(name)).parameters)
    if 'kwargs' in names:
        names |= set(inspect.signature(MODELS.get('SELFYBlock')).parameters)
    return sorted(names - {'kwargs'})


def same(a, b):
    return type(a) is type(b) and a == b


def error_message(cfg):
    try:
        MODELS.build(cfg)
    except ValueError as error:
        return str(error)
    return 'no error'


def test_every_module_is_listed():
    registered = [
        name
        for name, module in MODELS.module_dict.items()
        if inspect.isclass(module) and issubclass(module, Module)
        if module.__module__.startswith('selfy_mmaction')
    ]
    assert sorted(registered) == sorted(MODULES)


@pytest.mark.parametrize('name', MODULES)
def test_errors_name_every_invalid_option(name):
    unexpected = {}
    for option in arguments(name):
        valid = VALID.get((name, option), VALID.get(option, []))
        for value in VALUES:
            message = error_message({'type': name, **MODULES[name], option: value})
            if any(same(value, other) for other in valid):
                is_expected = message == 'no error'
            else:
                is_expected = re.search(rf'\b{option}\b', message)
            if not is_expected:
                unexpected[option, repr(value)] = message
    assert unexpected == {}


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(extraction=dict(type='ConvExtration')), "extraction .*'ConvExtraction'"),
        (dict(extraction=dict(type=None)), 'extraction must have the type .*None'),
        (dict(extraction=dict(chanels=(4,))), "extraction .*'chanels'.*'channels'"),
        (dict(fusion=dict(rely='none')), "fusion .*ResidualFusion.*'rely'.*'relu'"),
        (dict(extraction=dict(type='TSNHead')), "extraction .*TSNHead.*'num_classes'"),
        (dict(fusion=dict(type='ConvReduction')), "fusion .*ConvRed.*'in_channels'"),
        (
            dict(extraction=dict(type='NonLocalBlock', in_channels=4)),
            "extraction .*NonLocalBlock, .*'out_channels'",
        ),
        (dict(reduction=dict(out_channels=3)), 'reduction has out_channels=3,.*=128'),
        (dict(extraction=dict(window=(5, 5))), r'extraction has window=\(5, 5\),.*9'),
        (dict(integration=dict(num_offsets=3)), 'integration has num_offsets=3,.*=5'),
        (dict(integration=dict(in_channels=3)), 'integration has in_channels=3,.*=64'),
        (
            dict(restoration=dict(type='TransposedConvRestoration', scale=1)),
            'restoration has scale=1,.*0.5',
        ),
    ],
)
def test_mismatched_steps(cfg, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='SELFYBlock', in_channels=4, **cfg))


def test_steps_may_repeat_decided_arguments():
    block = MODELS.build(
        dict(
            type='SELFYBlock',
            in_channels=4,
            window=5,
            offsets=0,
            extraction=dict(window=[5, 5]),
            integration=dict(num_offsets=1),
            reduction=dict(scale=1),
        )
    )
    assert block.transformation.window == block.extraction.window == (5, 5)
    assert block.transformation.offsets == (0,)


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='SELFYNeck', in_channels=(4, 8), num_segments=8), 'block'),
        (dict(type='SequentialBlocks', in_channels=4), r'blocks\[0\]'),
    ],
)
def test_misspelled_blocks(cfg, message):
    for block, nearest in (
        (dict(type='SELFYBlok'), "type='SELFYBlok'.*'SELFYBlock'"),
        (dict(type='SELFYBlock', offset=(0,)), "'offset'.*'offsets'"),
        (dict(type='SELFYSBlock', offset=(0,)), "'offset'.*'offsets'"),
        (dict(type='SELFYBlock', in_channels=5), 'has in_channels=5.*=[48]'),
    ):
        option = dict(block=block) if message == 'block' else dict(blocks=[block])
        with pytest.raises(ValueError, match=f'{message} .*{nearest}'):
            MODELS.build({**cfg, **option})


GROUPS = dict(type='GN', num_groups=32)


@pytest.mark.parametrize(
    ('cfg', 'owner', 'widths'),
    [
        (dict(type='SELFYBlock'), 'ConvExtraction', '4, 16, 64 channels.* divide 4'),
        (dict(type='SELFYBlock', reduced_channels=24), 'ConvReduction', '24 channels'),
        (dict(type='STCB', channels=(48, 32, 32, 32)), 'STCB', '48, 32, 96 channels'),
        (dict(type='MultiHeadSelfAttentionBlock'), 'MultiHead', '24, 96 channels'),
        (dict(type='ConvIntegration', out_channels=8, num_offsets=2), 'Conv', '64, 8'),
    ],
)
def test_groups_that_do_not_divide(cfg, owner, widths):
    with pytest.raises(ValueError, match=f'norm_cfg=.* {owner}.* {widths}'):
        MODELS.build({'in_channels': 96, 'norm_cfg': GROUPS, **cfg})


def test_groups_that_divide():
    norm_cfg = dict(type='GN', num_groups=4)
    block = MODELS.build(dict(type='SELFYBlock', in_channels=8, norm_cfg=norm_cfg))
    assert block(torch.randn(8, 8, 6, 6)).isfinite().all()


@pytest.mark.parametrize(
    'norm_cfg',
    [
        dict(type='BM'),
        dict(type='BN', momentun=0.1),
        dict(type='GN'),
        # Norms for features of other dimensions.
        dict(type='BN1d'),
        dict(type='BN3d'),
        dict(type='LN'),
    ],
)
def test_unsupported_norms(norm_cfg):
    with pytest.raises(ValueError, match=r'norm_cfg=.* ConvReduction'):
        MODELS.build(dict(type='ConvReduction', in_channels=4, norm_cfg=norm_cfg))


@pytest.mark.parametrize('type', ['BN', 'BN2d', 'BN3d', 'SyncBN', 'IN3d'])
def test_norms_of_clips(type):
    norm_cfg = dict(type=type)
    MODELS.build(dict(type='NonLocalBlock', in_channels=4, norm_cfg=norm_cfg))


class AnyArguments(BaseModule):
    def __init__(self, in_channels, **kwargs):
        super().__init__()
        self.kwargs = kwargs


def test_module_with_arbitrary_arguments():
    module = build('block', dict(type=AnyArguments, more=1), in_channels=4, scale=1)
    assert module.kwargs == dict(more=1)


@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize(
    'name', [name for name in MODULES if name.endswith(('Block', 'STCB', 'Blocks'))]
)
def test_empty_batch(name, train):
    block = MODELS.build({'type': name, **MODULES[name]}).train(train)
    before = copy.deepcopy(block.state_dict())
    channels = MODULES[name]['in_channels']
    x = torch.randn(0, channels, 8, 8, requires_grad=True)
    out = block(x)
    assert out.shape == x.shape
    out.sum().backward()
    assert x.grad.shape == x.shape
    assert all(not p.grad.any() for p in block.parameters() if p.grad is not None)
    after = block.state_dict()
    assert all(
        torch.equal(before[key], after[key])
        for key in before
        if not key.endswith('num_batches_tracked')
    )


@pytest.mark.parametrize('value', [0, -8, 8.0, '8', True])
@pytest.mark.parametrize(
    'name', [name for name in MODULES if name.endswith(('Block', 'STCB'))]
)
def test_wrong_num_segments_of_a_batch(name, value):
    block = MODELS.build({'type': name, **MODULES[name]})
    x = torch.randn(8, MODULES[name]['in_channels'], 4, 4)
    with pytest.raises(ValueError, match=f'num_segments must be .* {value!r}'):
        block(x, num_segments=value)
