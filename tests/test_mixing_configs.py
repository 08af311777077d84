# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's recipes with a block, and small hosts on the motion benchmark.

``tests/test_recipes.py`` checks that only the backbone differs from mmaction2's recipe.
"""

import re
from pathlib import Path

import pytest
import torch
from config_files import LEAVES, read
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

MIXING = [name for name in LEAVES if name.startswith('mixing/')]
OTHER_HOSTS = [name for name in LEAVES if re.match('motion/selfy-(?!ts[mn]-)', name)]

HOST, NARROW = 'model.backbone.backbone', {'model.backbone.backbone.base_channels': 8}
HEAD_WIDTH = 'model.cls_head.in_channels'
# Options that make a leaf small, and the resulting shape of a clip.
SMALL = {
    'selfy-i3d': ({**NARROW, HEAD_WIDTH: 256}, (3, 16, 32, 32)),
    'selfy-r2plus1d': (
        # SyncBN cannot train on a CPU.
        {**NARROW, HEAD_WIDTH: 64, f'{HOST}.norm_cfg.type': 'BN3d'},
        (3, 8, 64, 64),
    ),
    'selfy-slowonly': ({**NARROW, HEAD_WIDTH: 256}, (3, 8, 32, 32)),
    'selfy-swin': (
        {
            f'{HOST}.arch': dict(
                _delete_=True, embed_dims=8, depths=[1] * 4, num_heads=[1] * 4
            ),
            HEAD_WIDTH: 64,
        },
        (3, 4, 64, 64),
    ),
    'selfy-timesformer': (
        {f'{HOST}.embed_dims': 24, f'{HOST}.img_size': 32, HEAD_WIDTH: 24},
        (3, 8, 32, 32),
    ),
    'selfy-tpn': (
        {
            f'{HOST}.depth': 18,
            'model.neck.in_channels': (256, 512),
            'model.neck.out_channels': 32,
            'model.neck.spatial_modulation_cfg.in_channels': (256, 512),
            'model.neck.spatial_modulation_cfg.out_channels': 512,
            'model.neck.level_fusion_cfg.in_channels': (32, 32),
            'model.neck.level_fusion_cfg.mid_channels': (32, 32),
        },
        (8, 3, 64, 64),
    ),
    'selfy-tsm': ({}, (8, 3, 64, 64)),
}
every_leaf = pytest.mark.parametrize('name', MIXING, ids=lambda name: name[7:32])


def make_small(name: str) -> tuple[Config, tuple[int, ...]]:
    (start,) = (start for start in SMALL if name.startswith(f'mixing/{start}'))
    options, shape = SMALL[start]
    config = read(name)
    config.merge_from_dict(options)
    if 'input_shape' in config.model.backbone:
        config.merge_from_dict({'model.backbone.input_shape': (1, *shape)})
    return config, shape


def test_hosts_in_the_docs_have_configs():
    hosts = ('tsm_imagenet-pretrained-mobilenetv2', 'slowonly_r50', 'i3d_', 'r2plus1d_')
    hosts += ('timesformer_', 'swin-tiny', 'tpn-')
    for host in hosts:
        assert any(name.startswith(f'mixing/selfy-{host}') for name in MIXING)


@every_leaf
def test_leaf_survives_a_dump(name):
    config = read(name)
    assert Config.fromstring(config.pretty_text, '.py').to_dict() == config.to_dict()


@every_leaf
def test_block_matches_on_14x14_positions_and_learns_like_the_head(name):
    config = read(name)
    model = MODELS.build(config.model)
    (spec,) = config.model.backbone.blocks
    (block,) = model.backbone.inserted_blocks.values()
    assert type(block).__name__ == 'SELFYBlock'
    num_positions = 14 if 'timesformer' in name else 28
    assert block.reduction.scale * num_positions == 14, spec

    config.optim_wrapper.type = 'OptimWrapper'  # AmpOptimWrapper requires a GPU
    rates = {}
    groups = build_optim_wrapper(model, config.optim_wrapper).optimizer.param_groups
    for group in groups:
        for parameter in group['params']:
            assert parameter not in rates
            rates[parameter] = group['lr']
    assert set(rates) == set(model.parameters())
    assert {rates[p] for p in block.parameters()} == {config.optim_wrapper.optimizer.lr}


@every_leaf
def test_one_training_step_and_views_of_one_video(name):
    torch.manual_seed(0)
    config, shape = make_small(name)
    # With an identity block, wrong grouping of frames would go unnoticed.
    config.merge_from_dict({'model.backbone.blocks.0.block.zero_init_last_norm': False})
    model = MODELS.build(config.model)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            # Use the statistics of the training step; initial ones make signals vanish.
            module.momentum = None
    first, second = torch.randint(0, 256, (2, 1, *shape)).byte()

    def run(inputs, mode):
        samples = [ActionDataSample().set_gt_label(i) for i in range(len(inputs))]
        data = dict(inputs=inputs, data_samples=samples)
        model.train(mode == 'loss')
        return model(**model.data_preprocessor(data, mode == 'loss'), mode=mode)

    def predict(*views):
        # 2D networks receive the frames of all clips concatenated.
        views = torch.cat(views)
        frames = views if shape[0] == 3 else views.flatten(0, 1)
        (result,) = run([frames], 'predict')
        return result.pred_score

    inputs = [first, second] if shape[0] == 3 else [first[0], second[0]]
    losses = run(inputs, 'loss')
    sum(v.mean() for k, v in losses.items() if 'loss' in k).backward()
    for block in model.backbone.inserted_blocks.values():
        assert all(parameter.grad.any() for parameter in block.parameters())

    with torch.no_grad():
        both = predict(first, second, first)
        each = [predict(first), predict(second), predict(first)]
    torch.testing.assert_close(both, sum(each) / 3, rtol=1e-2, atol=1e-5)
    assert not torch.allclose(each[0], each[1], rtol=5e-2, atol=5e-5)


def on_motion(motion: Path, work_dir: Path, config: Config) -> Config:
    """Reduce a recipe to a few clips of the motion benchmark."""
    options = dict(work_dir=str(work_dir))
    for loader in ('train', 'val', 'test'):
        split = 'train' if loader == 'train' else 'val'
        options |= {
            f'{loader}_dataloader.{key}': value
            for key, value in {
                'batch_size': 1 if loader == 'test' else 2,
                'num_workers': 0,
                'persistent_workers': False,
                'dataset.ann_file': str(motion / f'{split}.txt'),
                'dataset.data_prefix.video': str(motion / 'videos'),
                'dataset.indices': 2,
            }.items()
        }
    config.merge_from_dict({**options, 'train_cfg.max_epochs': 1})
    config.param_scheduler = []
    return config


def train_and_test(config: Config) -> Path:
    """Train and test; return the config file that the runner dumped."""
    runner = Runner.from_cfg(config)
    runner.train()
    runner.test()
    (dumped,) = Path(config.work_dir).glob('*.py')
    return dumped


@pytest.mark.slow
def test_leaf_runs_as_the_base_of_a_users_config(motion_tiny, tmp_path):
    (name,) = (name for name in MIXING if 'selfy-slowonly' in name)
    child = tmp_path / 'child.py'
    child.write_text(f"_base_ = 'selfy_mmaction::{name}'\n")
    config = on_motion(motion_tiny, tmp_path / 'run', Config.fromfile(child))
    config.merge_from_dict(
        {
            **SMALL['selfy-slowonly'][0],
            'model.backbone.blocks.0.block.offsets': (-1, 0, 1),
            # 32x32 pixels instead of 224x224, and instead of 256x256 at test time.
            'train_dataloader.dataset.pipeline.5.scale': (32, 32),
            'val_dataloader.dataset.pipeline.4.crop_size': 32,
            'test_dataloader.dataset.pipeline.3.scale': (-1, 32),
            'test_dataloader.dataset.pipeline.4.crop_size': 32,
        }
    )
    dumped = train_and_test(config)
    assert Config.fromfile(dumped).model == config.model


@pytest.mark.parametrize('name', OTHER_HOSTS)
def test_small_hosts_on_the_benchmark_differ_only_in_the_block(name):
    plain = read(name.replace('selfy-', '')).to_dict()
    leaf = read(name).to_dict()
    backbone = leaf['model']['backbone']
    leaf['model']['backbone'] = backbone['backbone']
    assert leaf == plain
    # The matching grid is 8x8, as in selfy-tsn-r18-slim.
    model = MODELS.build(backbone)
    (block,) = model.inserted_blocks.values()
    grids = []
    block.reduction.register_forward_hook(lambda *args: grids.append(args[-1].shape))
    model(torch.zeros(backbone['input_shape']))
    assert grids == [(8, 32, 8, 8)]


def test_one_epoch_of_a_small_host(motion_tiny, tmp_path):
    (name,) = (name for name in OTHER_HOSTS if 'timesformer' in name)
    config = on_motion(motion_tiny, tmp_path, read(name))
    config.merge_from_dict(
        {f'{x}_dataloader.dataset.num_classes': 4 for x in ('train', 'val', 'test')}
    )
    config.model.cls_head.num_classes = 4
    train_and_test(config)
