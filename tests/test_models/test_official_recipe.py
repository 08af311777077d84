# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The official configs are compared with the official training log.

``tests/test_recipes.py`` covers hyperparameters and parameter groups.
"""

from pathlib import Path

import pytest
import torch
import yaml
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from selfy_mmaction.checkpoints.official import official_name

ROOT = Path(__file__).parents[2]
LOG = yaml.safe_load((ROOT / 'tests/data/golden/official_training_log.yml').read_text())
OFFICIAL = sorted((ROOT / 'configs/selfy/official').glob('*.py'))


@pytest.fixture(scope='module')
def config() -> Config:
    return Config.fromfile(next(path for path in OFFICIAL if 'r50' in path.name))


@pytest.fixture(scope='module')
def model(config) -> nn.Module:
    """SELFYNet-TSM-R50 on the meta device."""
    with torch.device('meta'):
        return MODELS.build(config.model)


def test_parameters_of_the_block(model):
    block = model.backbone.inserted_blocks.parameters()
    assert sum(parameter.numel() for parameter in block) == LOG['block_numel']


def describe(module: nn.Module, kernel_dims: int) -> str:
    """Describe the sizes of a layer as in ``official_training_log.yml``."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return str(module.num_features)
    text = f'{module.in_channels}->{module.out_channels}'
    sizes = dict(k=module.kernel_size, s=module.stride, p=module.padding)
    for letter, size in sizes.items():
        # Our 2D convolutions are 3D in the log, with a temporal kernel of size 1.
        missing = (0 if letter == 'p' else 1,) * (kernel_dims - len(size))
        if letter != 'p' or any(size):
            text += f' {letter}{",".join(map(str, (*missing, *size)))}'
    return text


def test_every_layer(model):
    log = {name: (kind, sizes) for name, kind, sizes in LOG['module_tree']}
    found = {}
    for name, module in model.named_modules():
        official = official_name(f'{name}.weight')
        if official is None or not hasattr(module, 'weight'):
            continue
        official = official.removesuffix('.weight')
        kind, sizes = log[official]
        if isinstance(module, nn.Linear):  # a convolution of size 1 in the log
            text = f'{module.in_features}->{module.out_features} k1 s1 bias'
            assert module.bias is not None
        else:
            text = describe(module, 3 if kind.endswith('3d') else 2)
        found[official] = text
        assert text == sizes.split(' op')[0], name  # our output size is an argument
    assert found.keys() == log.keys()


@pytest.mark.parametrize('gpus', [1, 8])
@pytest.mark.parametrize('path', OFFICIAL, ids=lambda path: path.stem)
def test_iterations_per_epoch(path, gpus, monkeypatch):
    config = Config.fromfile(path)
    loader = config.train_dataloader
    loader.batch_size = config.auto_scale_lr.base_batch_size // gpus
    loader.update(num_workers=0, persistent_workers=False)
    info = 'mmengine.dataset.sampler.get_dist_info'
    monkeypatch.setattr(info, lambda: (gpus - 1, gpus))
    clips = range(LOG['train_clips'])
    built = Runner.build_dataloader({**loader, 'dataset': clips}, seed=0)
    assert len(built) == LOG['iterations_per_epoch']
    # Validation and test use all clips.
    assert not config.val_dataloader.get('drop_last')
    assert not config.test_dataloader.get('drop_last')


@pytest.mark.parametrize('path', OFFICIAL, ids=lambda path: path.stem)
def test_last_layer_starts_xavier_uniform(path):
    torch.manual_seed(0)
    head = MODELS.build(Config.fromfile(path).model.cls_head)
    head.init_weights()
    weight = head.fc_cls.weight
    fans = weight.size(0) + weight.size(1)
    assert weight.std().item() == pytest.approx((2 / fans) ** 0.5, rel=0.01)
    # A uniform distribution ends at sqrt(3) standard deviations.
    assert weight.abs().max().item() == pytest.approx((6 / fans) ** 0.5, rel=1e-3)
    assert not head.fc_cls.bias.any()
    if head.in_channels == 2048:
        assert (2 / fans) ** 0.5 == pytest.approx(LOG['last_layer_std'], abs=5e-5)


def test_whole_model_keeps_the_initialization_of_the_last_layer():
    torch.manual_seed(0)
    config = Config.fromfile(next(path for path in OFFICIAL if 'r18' in path.name))
    config.model.backbone.pretrained = None
    model = MODELS.build(config.model)
    model.init_weights()
    std = model.cls_head.fc_cls.weight.std().item()
    assert std == pytest.approx((2 / (512 + 174)) ** 0.5, rel=0.01)


def test_head_follows_init_cfg_and_rejects_init_std():
    head = dict(type='XavierTSMHead', num_classes=3, in_channels=4)
    built = MODELS.build(
        dict(head, init_cfg=dict(type='Constant', layer='Linear', val=2, bias=1))
    )
    built.init_weights()
    assert (built.fc_cls.weight == 2).all()
    assert (built.fc_cls.bias == 1).all()
    with pytest.raises(ValueError, match='does not use init_std=0.01; remove it'):
        MODELS.build(dict(head, init_std=0.01))
