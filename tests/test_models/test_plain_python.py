# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Build and run modules without a default scope, and in that of another library."""

import subprocess
import sys

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope, Registry

from selfy_mmaction import models

BLOCKS = [
    dict(type=name)
    for name in (
        'SELFYBlock', 'SELFYSBlock', 'STCB', 'LocalSelfAttentionBlock',
        'NonLocalBlock', 'MultiHeadSelfAttentionBlock',
    )
]  # fmt: skip
BLOCKS += [
    dict(type='SELFYBlock', **step)
    for step in (
        dict(extraction=dict(type='KernelSoftArgmaxExtraction')),
        dict(extraction=dict(type='MLPExtraction')),
        dict(extraction=dict(type='SoftArgmaxExtraction')),
        dict(extraction=dict(type='mmaction.ConvExtraction', temporal_kernel=3)),
        dict(integration=dict(type='FCIntegration')),
        dict(integration=dict(type='MLPIntegration')),
        dict(transformation=dict(type='EmbeddedGaussianTransformation')),
        dict(
            integration=dict(type='ReleasedIntegration'),
            restoration=dict(type='TransposedConvRestoration'),
            fusion=dict(relu='after'),
            zero_init_last_norm=True,
        ),
        dict(fusion=dict(type='ReplacementFusion')),
        dict(norm_cfg=dict(type='GN', num_groups=1), reduced_channels=8),
    )
]
BLOCKS += [
    dict(type=kind, blocks=[dict(type='SELFYBlock'), dict(type='STCB')])
    for kind in ('SequentialBlocks', 'ParallelBlocks')
]
BACKBONES = ['ResNetSELFY', 'ResNetTSMSELFY', 'ReleasedResNetTSMSELFY']


@pytest.fixture(autouse=True, params=[None, 'other'])
def scope(request, monkeypatch):
    """Set no default scope, as in plain Python, or that of another package."""
    monkeypatch.setattr(DefaultScope, '_instance_dict', {})
    if request.param is not None:
        children = dict(ROOT_MODELS.children)
        monkeypatch.setattr(ROOT_MODELS, '_children', children)
        Registry('model', scope=request.param, parent=ROOT_MODELS)
        DefaultScope.get_instance('test', scope_name=request.param)
    return request.param


def build(scope, **cfg):
    """Build from mmaction2's registry, naming it if another default scope is set."""
    name = cfg.pop('type')
    return MODELS.build(dict(type=f'mmaction.{name}' if scope else name, **cfg))


@pytest.mark.parametrize('cfg', BLOCKS, ids=lambda cfg: str(list(cfg.values()))[:60])
def test_blocks(scope, cfg):
    x = torch.randn(8, 32, 6, 6)
    cfg = dict(cfg)
    assert build(scope, in_channels=32, **cfg)(x).shape == x.shape
    block_class = getattr(models, cfg.pop('type'))
    assert block_class(in_channels=32, **cfg)(x).shape == x.shape


@pytest.mark.parametrize('name', BACKBONES)
def test_backbones(scope, name):
    options = dict(depth=18, base_channels=8, num_segments=2, selfy=dict(after='res3'))
    x = torch.randn(2, 3, 32, 32)
    backbone = getattr(models, name)(**options)
    backbone.init_weights()
    assert backbone(x).shape == build(scope, type=name, **options)(x).shape


def test_neck(scope):
    levels = torch.randn(1, 32, 2, 8, 8), torch.randn(1, 64, 2, 4, 4)
    cfg = dict(in_channels=(32, 64), num_segments=2)
    for neck in (models.SELFYNeck(**cfg), build(scope, type='SELFYNeck', **cfg)):
        assert neck(levels)[0].shape == (1, 64, 1, 4, 4)


def test_inserted():
    blocks = [dict(after='layer2', block=dict(type='SELFYBlock'))]
    shape = (1, 3, 2, 32, 32)
    host = models.build_with_blocks(
        dict(type='mmaction.ResNet3dSlowOnly', depth=18, base_channels=8), blocks, shape
    )
    assert 'layer2' in host.inserted_blocks
    host(torch.randn(shape))


RECOGNIZER = """
from mmaction.registry import MODELS
from mmaction.utils import register_all_modules
import selfy_mmaction, torch

register_all_modules()
backbone = dict(
    type='ResNetTSMSELFY', depth=18, base_channels=8, selfy=dict(after='res3'))
head = dict(type='TSMHead', num_classes=5, in_channels=64)
model = MODELS.build(dict(type='Recognizer2D', backbone=backbone, cls_head=head))
assert model(torch.randn(1, 8, 3, 32, 32)).shape == (8, 64, 1, 1)
"""


def test_recognizer_of_mmaction2(scope):
    if scope is None:
        subprocess.run([sys.executable, '-c', RECOGNIZER], check=True)


def test_import_prints_nothing():
    command = [sys.executable, '-c', 'import selfy_mmaction']
    result = subprocess.run(command, capture_output=True, check=True)
    assert result.stdout + result.stderr == b''
