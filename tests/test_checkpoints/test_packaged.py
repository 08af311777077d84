# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The network and the clip that are installed with the package."""

import re

import numpy as np
import pytest
import torch
from mmaction.apis import inference_recognizer, init_recognizer
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.runner import CheckpointLoader, load_checkpoint
from safetensors import safe_open

from selfy_mmaction.checkpoints import (
    SAMPLE_CLIP,
    packaged_config,
    packaged_names,
    packaged_path,
)
from selfy_mmaction.motion_benchmark import class_names, render_clip

NAME = 'selfy-tsn-r18-slim-motion'
START = 'resnet18-slim-scenes'
URL = f'selfy_mmaction://{NAME}'
PRETRAINED = packaged_path(NAME).parent
CONFIG = packaged_config(NAME)


def backbone(**options):
    config = Config.fromfile(CONFIG).model.backbone
    return MODELS.build({**config, **options})


@pytest.fixture(scope='module')
def weights():
    with safe_open(PRETRAINED / f'{NAME}.safetensors', framework='np') as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def same(state, weights, prefix=''):
    """Compare tensors with the arrays that safetensors reads without torch."""
    return all(
        np.array_equal(value.numpy(), weights[prefix + name])
        for name, value in state.items()
    )


def test_classes_and_weights(weights):
    checkpoint = CheckpointLoader.load_checkpoint(URL, map_location='cpu')
    names = checkpoint['meta']['dataset_meta']['classes']
    assert names == class_names('small')
    assert set(checkpoint['state_dict']) == set(weights)
    assert same(checkpoint['state_dict'], weights)


def test_sample_clip_is_classified_right(weights):
    model = init_recognizer(CONFIG, URL, device='cpu')
    assert same(model.state_dict(), weights)
    scores = inference_recognizer(model, str(SAMPLE_CLIP)).pred_score
    assert class_names('small')[scores.argmax()] == 'go_right'
    assert scores.max() > 0.5


def test_sample_clip_is_the_one_of_the_card(weights):
    av = pytest.importorskip('av')
    with av.open(str(SAMPLE_CLIP)) as file:
        frames = [frame.to_ndarray(format='rgb24') for frame in file.decode(video=0)]
    expected = render_clip('small', 'val', 0)
    assert np.shape(frames) == expected.shape
    # The codec is lossy: the mean difference is 4.4 gray levels, and 22 to the partner.
    assert np.abs(np.subtract(frames, expected, dtype=float)).mean() < 8


@pytest.mark.parametrize(('name', 'num_figures'), [(NAME, 2), (START, 1)])
def test_card_has_the_figures_of_the_file(name, num_figures):
    with safe_open(packaged_path(name), framework='np') as file:
        notes = file.metadata()
    card = (PRETRAINED / f'{name}.md').read_text(encoding='utf-8')
    assert notes['license'] == 'Apache-2.0'
    assert notes['config'] == packaged_config(name).name
    figures = re.findall(r'[\d.]+ %', notes['accuracy'])
    assert len(figures) == num_figures
    for figure in (*figures, notes['config'], notes['sha256']):
        assert figure in card


def test_files_are_small():
    assert sum(path.stat().st_size for path in PRETRAINED.iterdir()) < 2.5e6


def test_pretrained_backbone(weights, log):
    model = backbone(pretrained=URL)
    model.init_weights()
    assert same(model.state_dict(), weights, 'backbone.')
    assert 'after layer2 have the weights of the checkpoint' in log[-1]


def test_init_cfg_with_prefix(weights):
    init_cfg = dict(type='Pretrained', checkpoint=URL, prefix='backbone.')
    model = backbone(init_cfg=init_cfg)
    model.init_weights()
    assert same(model.state_dict(), weights, 'backbone.')


@pytest.mark.parametrize(
    'block', [None, dict(after='res4', new=True)], ids=['without', 'elsewhere']
)
def test_pretrained_backbone_with_other_blocks(block, weights):
    model = backbone(pretrained=URL, selfy=block)
    if block:
        with pytest.raises(ValueError, match='has weights for inserted_blocks.layer2'):
            model.init_weights()
        return
    model.init_weights()
    assert same(model.state_dict(), weights, 'backbone.')


@pytest.mark.parametrize(
    ('options', 'key'),
    [
        (dict(base_channels=16), r'conv1\.conv\.weight is \(16, 3, 7, 7\) in the net'),
        (dict(depth=50), r'conv1\.conv\.weight is \(8, 8, 1, 1\) in the net'),
        (dict(type='ResNetTSMSELFY', depth=34), r'conv1\.conv\.net\.weight .* missing'),
    ],
    ids=['width', 'depth', 'TSM and depth'],
)
def test_pretrained_backbone_that_does_not_fit(options, key):
    with pytest.raises(ValueError, match=key):
        backbone(pretrained=URL, **options).init_weights()


def test_tsm_starts_from_tsn(weights):
    model = backbone(type='ResNetTSMSELFY', pretrained=URL)
    model.init_weights()
    state = model.state_dict()
    assert 'layer1.0.conv1.conv.net.weight' in state
    state = {key.replace('.net.', '.'): value for key, value in state.items()}
    assert same(state, weights, 'backbone.')


def test_only_the_start_may_come_from_tsn(weights):
    config = Config.fromfile(CONFIG)
    config.model.backbone.type = 'ResNetTSMSELFY'
    with pytest.raises(RuntimeError, match=r'missing keys[^!]*conv1\.conv\.net'):
        load_checkpoint(MODELS.build(config.model), URL, strict=True)


def test_tsm_backbone_from_a_recognizer(tmp_path):
    trained = backbone(type='ResNetTSMSELFY')
    trained.init_weights()
    path = tmp_path / 'epoch 1.pth'
    state = {f'backbone.{key}': v for key, v in trained.state_dict().items()}
    torch.save(dict(state_dict=state, meta={}), path)
    model = backbone(type='ResNetTSMSELFY', pretrained=str(path))
    model.init_weights()
    for key, value in model.state_dict().items():
        assert torch.equal(value, trained.state_dict()[key]), key


def test_load_checkpoint_returns_the_classes():
    model = MODELS.build(Config.fromfile(CONFIG).model)
    meta = load_checkpoint(model, URL, map_location='cpu', strict=True)['meta']
    assert len(meta['dataset_meta']['classes']) == 12


@pytest.mark.parametrize('name', ['', 'selfy-tsn-r18-slim', '../README', 'ünbekannt'])
def test_unknown_name(name):
    with pytest.raises(FileNotFoundError, match=f'It has: {START}, {NAME}'):
        CheckpointLoader.load_checkpoint(f'selfy_mmaction://{name}')


def test_names():
    assert packaged_names() == [START, NAME]
    assert packaged_config(NAME) == packaged_config(URL)
    assert packaged_path(URL) == PRETRAINED / f'{NAME}.safetensors'
