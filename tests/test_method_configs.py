# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The configs of other methods are tested recipes with another block or host."""

import re
from pathlib import Path

import mmaction
import pytest
import torch
import yaml
from config_files import CONFIGS, LEAVES, read
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch.utils.flop_counter import FlopCounterMode

MOSS = [name for name in LEAVES if name.startswith('methods/moss-')]
RESNETS = [name for name in MOSS if '-r50_' in name]
TIMESFORMERS = [name for name in MOSS if '-timesformer_' in name]
HOST_CONFIGS = Path(mmaction.__file__).parent / '.mim' / 'configs'
HOST = 'recognition/timesformer/timesformer_divST_8xb8-8x32x1-15e_kinetics400-rgb.py'
LAYER = dict(after='transformer_layers.layers.5', layout='n (h w t) c')


def orders_of(name: str) -> tuple[int, ...]:
    found = re.match(r'methods/moss-orders?-([\d-]+)-[a-z]', name)
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
    selfynet = re.sub(r'methods/moss-orders?-[\d-]+-', 'selfy/selfy-', name)
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


@pytest.mark.parametrize('depth', [18, 50])
def test_motion_squeeze_config(depth):
    recipe = f'tsm-r{depth}_8xb8-1x1x8-50e_sthv1-rgb.py'
    config = read(f'methods/motion-squeeze-{recipe}').to_dict()
    folder = 'ablations' if depth == 18 else 'selfy'
    expected = read(f'{folder}/selfy-{recipe}').to_dict()
    selfy = expected['model']['backbone']['selfy']
    selfy['block'] = dict(type='MotionSqueezeBlock')
    assert config == expected


def test_atm_config():
    recipe = 'timesformer_8xb8-1x1x8-15e_sthv1-rgb.py'
    config = read(f'methods/atm-{recipe}').to_dict()
    expected = read(f'methods/moss-order-1-{recipe}').to_dict()
    block = dict(
        type='SequentialBlocks',
        blocks=[dict(type='ATMSimilarityBlock'), dict(type='ATMDifferenceBlock')],
        fusion=dict(relu='after'),
    )
    after = 'transformer_layers.layers.6'
    expected['model']['backbone']['blocks'] = [dict(LAYER, after=after, block=block)]
    assert config == expected
    backbone = small(read(f'methods/atm-{recipe}')).backbone
    (block,) = MODELS.build(backbone).inserted_blocks.values()
    for member in block.blocks:
        assert member.fusion.relu == 'after'
        assert not member.restoration.conv.weight.any()


def small(config: Config) -> Config:
    """Return the model of a TimeSformer config for 32x32 pixels and 24 channels."""
    model = config.model
    model.backbone.backbone.update(img_size=32, embed_dims=24, num_heads=2)
    model.backbone.backbone.pretrained = None
    model.backbone.input_shape = (1, 3, 8, 32, 32)
    model.cls_head.in_channels = 24
    return model


METHODS = [name for name in LEAVES if name.startswith('methods/') and 'sthv1' in name]


@pytest.mark.parametrize('name', METHODS)
def test_training_step(name):
    config = read(name)
    model = config.model
    if '-timesformer_' in name:
        small(config)
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
    named = recognizer.named_parameters()
    names = {name: p for name, p in named if 'inserted_blocks' in name}
    assert names
    assert {id(parameter) for parameter in names.values()} <= trained
    samples = [ActionDataSample().set_gt_label(3)]
    losses = recognizer.train_step(dict(inputs=inputs, data_samples=samples), optimizer)
    assert losses['loss'].isfinite()


METAFILE = yaml.safe_load((CONFIGS / 'methods' / 'metafile.yml').read_text())['Models']


@pytest.mark.parametrize('model', METAFILE[::2], ids=lambda model: model['Name'])
def test_flops_in_the_metafile(model):
    backbone = read(model['Config'].removeprefix('configs/')).model.backbone
    for part in (backbone, backbone.get('backbone', {})):
        if 'pretrained' in part:
            part['pretrained'] = None
    shape = (1, 3, 8) if 'timesformer' in model['Config'] else (8, 3)
    with torch.device('meta'):
        network = MODELS.build(backbone)
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(*shape, 224, 224))
    assert model['Metadata']['FLOPs'] == f'{counter.get_total_flops() / 2e9:.2f}G'
