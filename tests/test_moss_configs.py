# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The configs of MOSS differ from tested recipes only in the block and the host."""

import re
from pathlib import Path

import mmaction
import pytest
import torch
from config_files import LEAVES, read
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

MOSS = [name for name in LEAVES if name.startswith('moss/')]
RESNETS = [name for name in MOSS if '-r50_' in name]
TIMESFORMERS = [name for name in MOSS if '-timesformer_' in name]
HOST_CONFIGS = Path(mmaction.__file__).parent / '.mim' / 'configs'
HOST = 'recognition/timesformer/timesformer_divST_8xb8-8x32x1-15e_kinetics400-rgb.py'
LAYER = dict(after='transformer_layers.layers.5', layout='n (h w t) c')


def orders_of(name: str) -> tuple[int, ...]:
    found = re.match(r'moss/moss-orders?-([\d-]+)-[a-z]', name)
    return tuple(map(int, found[1].split('-')))


def without_scope(value):
    """Drop the marks that mmengine leaves in what is inherited from mmaction2."""
    if isinstance(value, dict):
        items = ((key, item) for key, item in value.items() if key != '_scope_')
        return {key: without_scope(item) for key, item in items}
    if isinstance(value, list | tuple):
        return type(value)(map(without_scope, value))
    return value


def test_every_host_has_every_order():
    hosts = {re.search(r'-((ts[mn]-r50|timesformer)_.*)', name)[1] for name in MOSS}
    assert len(hosts) == 6
    assert len(MOSS) == 18
    assert {orders_of(name) for name in MOSS} == {(1,), (1, 2), (1, 2, 3)}


@pytest.mark.parametrize('name', RESNETS)
def test_resnet_is_selfynet_with_another_block(name):
    config = read(name).to_dict()
    selfynet = re.sub(r'moss/moss-orders?-[\d-]+-', 'selfy/selfy-', name)
    expected = read(selfynet).to_dict()
    selfy = expected['model']['backbone']['selfy']
    selfy['block'] = dict(type='MOSSBlock', orders=orders_of(name))
    assert config == expected


@pytest.mark.parametrize('name', TIMESFORMERS)
def test_timesformer_is_that_of_the_host_with_a_block(name, tmp_path):
    child = tmp_path / 'host.py'
    child.write_text(f"_base_ = 'mmaction::{HOST}'\n")
    host = without_scope(Config.fromfile(child).to_dict())
    config = read(name).to_dict()
    backbone = config['model']['backbone']
    assert backbone['type'] == 'InsertBlocks'
    block = dict(type='MOSSBlock', orders=orders_of(name))
    assert backbone['blocks'] == [dict(LAYER, block=block)]
    config['model']['backbone'] = backbone['backbone']
    host['model']['cls_head']['num_classes'] = 174
    defaults = dict(in_channels=3, dropout_ratio=0.0, transformer_layers=None)
    config['model']['backbone'].update(defaults)
    assert config['model'] == host['model']
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'auto_scale_lr'):
        assert config[key] == host[key], key

    # The data of the ResNets, in another layout.
    data = re.search(r'sthv\d', name)[0]
    frames = read(f'selfy/tsm-r50_8xb8-1x1x8-50e_{data}-rgb.py').to_dict()
    for split in ('train', 'val', 'test'):
        loader = config[f'{split}_dataloader']
        pipeline = loader['dataset']['pipeline']
        at = pipeline.index(dict(type='FormatShape', input_format='NCTHW'))
        transpose = dict(type='Transpose', keys=['imgs'], order=(2, 1, 0, 3, 4))
        assert pipeline.pop(at + 1) == transpose
        pipeline[at]['input_format'] = 'NCHW'
        assert loader == frames[f'{split}_dataloader']


@pytest.mark.parametrize('name', [name for name in MOSS if 'sthv1' in name])
def test_training_step(name):
    config = read(name)
    model = config.model
    if name in TIMESFORMERS:
        model.backbone.backbone.update(img_size=32, embed_dims=24, num_heads=2)
        model.backbone.backbone.pretrained = None
        model.backbone.input_shape = (1, 3, 8, 32, 32)
        model.cls_head.in_channels = 24
        inputs = [torch.randint(256, (1, 3, 8, 32, 32), dtype=torch.uint8)]
    else:
        model.backbone.update(depth=18, pretrained=None)
        model.cls_head.in_channels = 512
        inputs = [torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8)]
    recognizer = MODELS.build(model).train()
    optimizer = build_optim_wrapper(recognizer, config.optim_wrapper)
    trained = {
        id(parameter)
        for group in optimizer.param_groups
        for parameter in group['params']
    }
    names = {name: p for name, p in recognizer.named_parameters() if '.stss.' in name}
    assert names
    assert {id(parameter) for parameter in names.values()} <= trained
    samples = [ActionDataSample().set_gt_label(3)]
    losses = recognizer.train_step(dict(inputs=inputs, data_samples=samples), optimizer)
    assert losses['loss'].isfinite()
