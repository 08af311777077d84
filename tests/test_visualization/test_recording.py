# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.inference import Predictor
from selfy_mmaction.ops.reference import self_similarity_loops
from selfy_mmaction.visualization.grad_cam import grad_cam
from selfy_mmaction.visualization.recording import (
    find_blocks,
    record_block,
    record_layer,
)

MOTION = Path(__file__).parents[2] / 'configs' / 'motion'


def read(predictor: Predictor):
    return predictor.pipeline.open(str(SAMPLE_CLIP)).read_clip()


def network(name: str, folder: Path, **options) -> Predictor:
    """A network of the motion benchmark with random weights.

    ``options`` are those of its config, with ``__`` for dots.
    """
    config = Config.fromfile(MOTION / f'{name}_1xb12-1x1x8-6e_motion-rgb.py')
    config.merge_from_dict({k.replace('__', '.'): v for k, v in options.items()})
    init_default_scope('mmaction')
    model = MODELS.build(config.model)
    path = folder / 'random.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return Predictor(config, path)


@pytest.fixture(scope='module')
def packaged() -> Predictor:
    return Predictor()


def test_block_is_recorded_as_computed(packaged):
    clip = read(packaged)
    block = packaged.model.backbone.inserted_blocks['layer2']
    kept = []
    handle = block.reduction.register_forward_hook(lambda *args: kept.append(args[2]))
    recorded, prediction = record_block(packaged, clip, 'sample')
    handle.remove()
    expected = self_similarity_loops(
        kept[0].double(), recorded.offsets, recorded.window, num_segments=8
    )
    np.testing.assert_allclose(recorded.stss, expected[0], atol=1e-6)
    feats = block.extraction(torch.from_numpy(recorded.stss)[None])
    np.testing.assert_allclose(recorded.extraction, feats[0].detach(), atol=1e-6)
    integrated = block.integration(feats).detach()
    np.testing.assert_allclose(recorded.integration, integrated, atol=1e-5)
    assert recorded.source == 'SELFYBlock backbone.inserted_blocks.layer2'
    assert recorded.classes == prediction.top
    assert prediction.top[0].name == 'go_right'


def test_frames_are_those_of_the_network(packaged):
    clip = read(packaged)
    recorded, _ = record_block(packaged, clip, 'sample')
    inputs = clip.inputs['inputs']  # (T, C, H, W)
    np.testing.assert_array_equal(recorded.frames, inputs.permute(0, 2, 3, 1))
    assert recorded.seconds == pytest.approx(clip.times.tolist())


def test_network_is_not_changed(packaged):
    clip = read(packaged)
    before = packaged.predict_clip(clip).probabilities
    record_block(packaged, clip, 'sample')
    record_layer(packaged, clip, 'sample', 'backbone.layer3')
    assert not any(
        layer._forward_hooks
        for name, layer in packaged.model.named_modules()
        if name.startswith('backbone.layer3') or 'inserted_blocks' in name
    )
    after = packaged.predict_clip(clip).probabilities
    np.testing.assert_array_equal(before, after)


def test_layer_of_a_2d_network_without_a_block(tmp_path):
    predictor = network('tsn-r18-slim', tmp_path)
    clip = read(predictor)
    with pytest.raises(ValueError, match=r'no SELFY block; name a layer'):
        record_block(predictor, clip, 'sample')
    kept = []
    layer = predictor.model.backbone.layer2
    layer.register_forward_hook(lambda *args: kept.append(args[2]))
    recorded, _ = record_layer(
        predictor, clip, 'sample', 'backbone.layer2', (-1, 1), (3, 5)
    )
    expected = self_similarity_loops(kept[0].double(), (-1, 1), (3, 5), 8)
    np.testing.assert_allclose(recorded.stss, expected[0], atol=1e-6)


def test_3d_network(tmp_path):
    predictor = network('selfy-slowonly-r18-slim', tmp_path)
    clip = read(predictor)
    assert clip.inputs['inputs'].dim() == 5
    recorded, _ = record_block(predictor, clip, 'sample')
    assert len(recorded.frames) == len(recorded.stss) == 8
    first = clip.inputs['inputs'][0].permute(1, 2, 3, 0)
    np.testing.assert_array_equal(recorded.frames, first)
    features, _ = record_layer(predictor, clip, 'sample', 'backbone.layer2')
    assert features.stss.shape[0] == 8


def test_neck_that_averages_over_frames(tmp_path):
    """The head has one segment, but a clip has eight frames."""
    block = dict(
        window=(5, 5),
        reduced_channels=8,
        extraction=dict(channels=(4, 8)),
        integration=dict(channels=(4, 4)),
    )
    predictor = network(
        'tsn-r18-slim',
        tmp_path,
        model__backbone__out_indices=(1, 3),
        model__neck=dict(
            type='SELFYNeck', in_channels=(16, 64), num_segments=8, block=block
        ),
        model__cls_head__num_segments=1,
    )
    clip = read(predictor)
    recorded, _ = record_block(predictor, clip, 'sample')
    assert recorded.source == 'SELFYBlock neck.block'
    assert recorded.stss.shape == (8, 8, 8, 5, 5, 5)
    assert len(recorded.integration) == len(recorded.frames) == 8
    features, _ = record_layer(predictor, clip, 'sample', 'backbone.layer2')
    assert len(features.stss) == 8
    explained = grad_cam(predictor.model, clip.inputs)
    assert explained.num_views == 1
    assert explained.maps.shape == (8, 64, 64)


def test_offset_outside_of_the_clip(packaged):
    with pytest.raises(ValueError, match=r'offset -8 leads out .* has 8 .* -7 to 7'):
        record_layer(packaged, read(packaged), 'sample', 'backbone.layer2', (-8, 0))


@pytest.mark.parametrize(
    ('layer', 'message'),
    [
        ('backbone.layr2', r"no layer 'backbone.layr2'; did you mean backbone.layer2,"),
        ('cls_head', r'layer cls_head returns features of shape \(1, 12\), expected'),
        ('cls_head.loss_cls', r'layer cls_head.loss_cls does not run'),
    ],
)
def test_wrong_layer(packaged, layer, message):
    with pytest.raises(ValueError, match=message):
        record_layer(packaged, read(packaged), 'sample', layer)


def test_wrong_block(packaged):
    assert find_blocks(packaged.model) == ['backbone.inserted_blocks.layer2']
    with pytest.raises(ValueError, match=r"no block 'layer2'; did you mean backbone"):
        record_block(packaged, read(packaged), 'sample', 'layer2')
    with pytest.raises(ValueError, match=r"block 'X'; it has 1, such as backbone\.ins"):
        record_block(packaged, read(packaged), 'sample', 'X')
