# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Every config parses, builds a model, trains one step and predicts."""

import re
from pathlib import Path

import pytest
import torch
from config_files import LEAVES as ALL_LEAVES
from config_files import read
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.optim import build_optim_wrapper

# Configs of other hosts are tested in tests/test_mixing_configs.py and
# tests/test_method_configs.py.
LEAVES = [
    name
    for name in ALL_LEAVES
    if not re.match('mixing/|.*(slowonly|timesformer)', name)
]
PREFIXES = {
    None: '',
    'SELFYBlock': 'selfy-',
    'SELFYSBlock': 'selfy-s-',
    'STCB': 'stcb-',
    'LocalSelfAttentionBlock': 'local-attention-',
    'NonLocalBlock': 'non-local-',
    'MultiHeadSelfAttentionBlock': 'multi-head-attention-',
    'MOSSBlock': r'moss-orders?-[\d-]+-',
    'MotionSqueezeBlock': 'motion-squeeze-',
}


def test_every_folder_is_tested():
    assert {name.split('/')[0] for name in LEAVES} == {
        'ablations',
        'methods',
        'motion',
        'own',
        'selfy',
    }


@pytest.mark.parametrize('name', LEAVES)
def test_name_matches_recipe(name):
    config = read(name)
    batch_size = config.train_dataloader.batch_size
    epochs = config.train_cfg.max_epochs
    num_segments = config.model.cls_head.num_segments
    recipe = rf'xb{batch_size}-(dense-)?1x1x{num_segments}-{epochs}e_'
    if '/official/' in name:  # has no training recipe
        recipe = f'_1x1x{num_segments}_'
    assert re.search(recipe, name)
    backbone = config.model.backbone
    block = backbone.get('selfy', {}).get('block', {}).get('type')
    if block not in ('SequentialBlocks', 'ParallelBlocks'):
        shift = 'tsm-' if 'TSM' in backbone.type else 'tsn-'
        shift += 'causal-' if backbone.get('causal_shift') else ''
        start = f'{PREFIXES[block]}{shift}r{backbone.depth}'
        assert re.match(start, Path(name).name)


@pytest.mark.parametrize('name', LEAVES)
@pytest.mark.parametrize('loader', ['train', 'val', 'test'])
def test_pipeline_and_model_agree(name, loader):
    config = read(name)
    dataset = config[f'{loader}_dataloader'].dataset
    (sample,) = [
        step
        for step in dataset.pipeline
        if step.type in ('SampleFrames', 'DenseSampleFrames')
    ]
    num_segments = config.model.cls_head.num_segments
    assert sample.clip_len * sample.num_clips == num_segments
    # mmaction2's ResNet has no num_segments.
    assert config.model.backbone.get('num_segments', num_segments) == num_segments
    assert ('num_segments' in config.model.backbone) == (
        config.model.backbone.type != 'ResNet'
    )
    if 'num_classes' in dataset:
        assert dataset.num_classes == config.model.cls_head.num_classes


@pytest.mark.parametrize('name', LEAVES)
def test_one_training_step_and_one_prediction(name):
    torch.manual_seed(0)
    config = read(name)
    config.model.backbone.pretrained = None
    if config.model.backbone.type == 'ResNetTSM':
        config.model.backbone.pretrained2d = False  # loads weights by default
    if config.model.cls_head.num_classes is None:
        config.model.cls_head.num_classes = 3  # instead of reading the class file
    model = MODELS.build(config.model)
    model.init_weights()
    num_classes = config.model.cls_head.num_classes
    frames = torch.randint(0, 256, (config.model.cls_head.num_segments, 3, 32, 32))
    data = dict(
        inputs=[frames.byte()] * 2,
        data_samples=[ActionDataSample().set_gt_label(i) for i in range(2)],
    )

    optim_wrapper = build_optim_wrapper(model, config.optim_wrapper)
    grouped = [
        id(parameter)
        for group in optim_wrapper.optimizer.param_groups
        for parameter in group['params']
    ]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    losses = model(**model.data_preprocessor(data, training=True), mode='loss')
    assert losses['loss_cls'].isfinite()
    losses['loss_cls'].backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == []

    model.eval()
    with torch.no_grad():
        (result, _) = model.test_step(data)
    assert result.pred_score.shape == (num_classes,)
    assert result.pred_score.sum() == pytest.approx(1, abs=1e-4)
