# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import copy
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from grad_cam_models import IS_2D, build, make_clip, pack, with_random_weights
from mmaction.registry import MODELS
from mmaction.utils import GradCAM
from mmengine.dataset import pseudo_collate
from torch import nn

from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.inference import Predictor
from selfy_mmaction.visualization.grad_cam import grad_cam

every_model = pytest.mark.parametrize('name', IS_2D)


def features_of(model: nn.Module, inputs: dict, layer: str) -> tuple:
    """Return features of a layer and the scores, with a graph."""
    kept = []
    hook = model.get_submodule(layer).register_forward_hook(
        lambda module, args, output: kept.append(output)
    )
    data = model.data_preprocessor(pseudo_collate([copy.deepcopy(inputs)]))
    features, options = model.extract_feat(data['inputs'], test_mode=True)
    scores = model.cls_head(features, **options)
    hook.remove()
    return kept[0], scores


def as_frames(features: torch.Tensor) -> np.ndarray:
    """Return features as (T, C, h, w)."""
    if features.ndim == 5:
        features = features[0].transpose(0, 1)
    return features.detach().numpy()


def interpolate(maps: np.ndarray, frames: int, size: tuple[int, int]) -> np.ndarray:
    """Interpolate maps (t, h, w) linearly to frames of a size, with OpenCV and numpy.

    The centers of the first and last cell are half a cell from the borders.
    """
    large = [
        cv2.resize(each, size[::-1], interpolation=cv2.INTER_LINEAR) for each in maps
    ]
    at = (np.arange(frames) + 0.5) * len(maps) / frames - 0.5
    return np.apply_along_axis(partial(np.interp, at, np.arange(len(maps))), 0, large)


def define(features: np.ndarray, gradients: np.ndarray, size=(64, 64), frames=8):
    """Compute Grad-CAM from its definition, with loops."""
    count, channels, *grid = features.shape
    maps = np.zeros((count, *grid), np.float32)
    for t in range(count):
        for c in range(channels):
            maps[t] += gradients[t, c].mean() * features[t, c]
    assert maps.max() > 0
    maps = interpolate(np.maximum(maps, 0), frames, size)
    return (maps - maps.min()) / (maps.max() - maps.min())


@every_model
def test_map_before_the_pooling_is_that_of_the_classifier(name):
    # The gradient of a score with respect to what is averaged is the class's weight,
    # divided by the number of positions, so gradients are not needed.
    model, inputs = build(name), make_clip(IS_2D[name])
    features, _ = features_of(model, inputs, 'backbone')
    features = as_frames(features)
    weight = model.cls_head.fc_cls.weight[5].detach().numpy()
    gradients = np.broadcast_to(weight[:, None, None], features.shape)
    found = grad_cam(model, inputs, label=5)
    assert found.maps.shape == (8, 64, 64)
    assert found.maps.dtype == np.float32
    np.testing.assert_allclose(found.maps, define(features, gradients), atol=1e-4)
    assert found.maps.min() == 0
    assert found.maps.max() == pytest.approx(1)
    assert found.layer == 'input of cls_head'


@pytest.mark.parametrize('name', ['selfy_tsn_r18_slim', 'selfy_slowonly_r18_slim'])
@pytest.mark.parametrize('layer', ['backbone.layer3', 'backbone.layer2.1.conv1'])
def test_map_of_an_inner_layer_is_the_definition(name, layer):
    model, inputs = build(name), make_clip(IS_2D[name])
    features, scores = features_of(model, inputs, layer)
    # A class that has evidence: one that the features, all positive, speak for.
    gradients = [
        torch.autograd.grad(score, features, retain_graph=True)[0]
        for score in scores[0]
    ]
    label = int(np.argmax([each.mean() for each in gradients]))
    found = grad_cam(model, inputs, label=label, layer=layer)
    expected = define(as_frames(features), as_frames(gradients[label]))
    np.testing.assert_allclose(found.maps, expected, atol=1e-4)
    assert found.layer == layer


@pytest.mark.filterwarnings('ignore:Using a non-full backward hook')
@pytest.mark.parametrize('name', ['selfy_tsn_r18_slim', 'slowonly_r18_slim'])
def test_map_is_that_of_the_unmodified_utility(name):
    model, inputs = build(name), make_clip(IS_2D[name])
    found = grad_cam(model, inputs)
    utility = GradCAM(model, 'backbone/layer4/1')
    maps, _ = utility._calculate_localization_map(pseudo_collate([inputs]), False)
    np.testing.assert_allclose(found.maps, maps[0].numpy(), atol=1e-5)


def test_frames_that_are_not_square():
    model, inputs = build('tsn_r18_slim'), make_clip(size=(48, 80))
    features, scores = features_of(model, inputs, 'backbone')
    (gradients,) = torch.autograd.grad(scores[0].max(), features)
    found = grad_cam(model, inputs)
    expected = define(as_frames(features), as_frames(gradients), (48, 80))
    np.testing.assert_allclose(found.maps, expected, atol=1e-4)


def test_layer_before_an_operation_in_place():
    # The ReLU after this norm overwrites its output.
    model, inputs = build('tsn_r18_slim'), make_clip()
    layer = 'backbone.layer4.0.conv1.bn'
    found = grad_cam(model, inputs, label=0, layer=layer)
    model.backbone.layer4[0].conv1.activate.inplace = False
    features, scores = features_of(model, inputs, layer)
    (gradients,) = torch.autograd.grad(scores[0, 0], features)
    expected = define(as_frames(features), as_frames(gradients))
    np.testing.assert_allclose(found.maps, expected, atol=1e-4)


def test_predicted_class_is_explained_with_the_probabilities_of_a_prediction():
    predictor = Predictor(device='cpu')
    (prediction,) = predictor.predict(SAMPLE_CLIP)
    video = predictor.pipeline.open(str(SAMPLE_CLIP))
    (((_, inputs, _),),) = video.read(video.cut(None, None), 1)
    found = grad_cam(predictor.model, inputs)
    assert found.label == found.predicted == prediction.top[0].label
    np.testing.assert_array_equal(found.probabilities, prediction.probabilities)
    np.testing.assert_array_equal(
        found.frames, inputs['inputs'].permute(0, 2, 3, 1).numpy()
    )
    other = grad_cam(predictor.model, inputs, label=4)
    assert (other.label, other.predicted) == (4, found.label)
    assert np.abs(other.maps - found.maps).max() > 0.5


@pytest.mark.parametrize('name', ['tsm_r18_slim', 'selfy_slowonly_r18_slim'])
@pytest.mark.parametrize('fails', [False, True], ids=['works', 'fails'])
def test_model_and_inputs_stay_the_same(name, fails):
    model, inputs = build(name), make_clip(IS_2D[name])
    model.train()
    model.backbone.layer2.eval()
    model.backbone.conv1.requires_grad_(False)
    model.cls_head.fc_cls.bias.grad = torch.ones(12)
    model.cls_head.average_clips = 'prob'
    before = look_at(model, inputs)
    if fails:
        with pytest.raises(ValueError, match='Grad-CAM needs'):
            grad_cam(model, inputs, layer='cls_head.fc_cls')
    else:
        grad_cam(model, inputs)
    assert look_at(model, inputs) == before


def look_at(model: nn.Module, inputs: dict) -> list:
    """Return what must not change."""
    modules = [
        (module.training, len(module._forward_hooks), len(module._forward_pre_hooks))
        for module in model.modules()
    ]
    parameters = [(p.requires_grad, id(p), str(p.grad)) for p in model.parameters()]
    state = {key: value.tolist() for key, value in model.state_dict().items()}
    sample = inputs['data_samples']
    data = (inputs['inputs'].tolist(), sample.keys(), sample.gt_label.tolist())
    return [modules, parameters, state, data, model.cls_head.average_clips]


@pytest.mark.parametrize(
    'mode',
    [
        torch.no_grad,
        torch.inference_mode,
        partial(torch.autocast, 'cpu', torch.bfloat16),
    ],
    ids=['no_grad', 'inference_mode', 'autocast'],
)
def test_map_does_not_depend_on_the_mode(mode):
    model, inputs = build('selfy_tsn_r18_slim'), make_clip()
    expected = grad_cam(model, inputs).maps
    with mode():
        found = grad_cam(model, make_clip())
    np.testing.assert_array_equal(found.maps, expected)


def test_frozen_network():
    model, inputs = build('slowonly_r18_slim'), make_clip(is_2d=False)
    expected = grad_cam(model, inputs).maps
    model.requires_grad_(False)
    np.testing.assert_array_equal(grad_cam(model, inputs).maps, expected)


def test_tiny_gradients_are_scaled():
    model, inputs = build('tsn_r18_slim'), make_clip()
    expected = grad_cam(model, inputs, label=1).maps
    with torch.no_grad():
        model.cls_head.fc_cls.weight.mul_(2.0**-80)
    found = grad_cam(model, inputs, label=1)
    np.testing.assert_allclose(found.maps, expected, atol=1e-4)


def test_nothing_speaks_for_the_class():
    model, inputs = build('tsn_r18_slim'), make_clip()
    with torch.no_grad():
        model.cls_head.fc_cls.weight[3].fill_(-1)  # its features are not negative
    found = grad_cam(model, inputs, label=3)
    assert found.is_empty
    assert not found.maps.any()
    assert not grad_cam(model, inputs, label=4).is_empty


@pytest.mark.parametrize('name', ['tsn_r18_slim', 'slowonly_r18_slim'])
@pytest.mark.parametrize('average_clips', ['prob', 'score', None])
def test_views(name, average_clips):
    model = build(name)
    model.cls_head.average_clips = average_clips
    inputs = make_clip(IS_2D[name], views=3)
    own = inputs['inputs'].split(8 if IS_2D[name] else 1)
    single = [grad_cam(model, pack(frames), label=7) for frames in own]
    found = [grad_cam(model, inputs, label=7, view=view) for view in range(3)]
    for view in range(3):
        np.testing.assert_array_equal(found[view].maps, single[view].maps)
        np.testing.assert_array_equal(found[view].frames, single[view].frames)
        assert (found[view].view, found[view].num_views) == (view, 3)
    if average_clips == 'prob':
        mean = np.mean([each.probabilities for each in single], axis=0)
        np.testing.assert_allclose(found[0].probabilities, mean, atol=1e-6)
    assert found[0].probabilities.sum() == pytest.approx(1)
    with pytest.raises(ValueError, match='view must be an integer from 0 to 2'):
        grad_cam(model, inputs, view=3)


def test_slowfast_explains_the_slow_pathway():
    model = with_random_weights(MODELS.build(SLOWFAST))
    inputs = pack(make_clip(is_2d=False)['inputs'])
    default = grad_cam(model, inputs)
    layer = 'backbone.slow_path.layer4'
    np.testing.assert_array_equal(
        grad_cam(model, inputs, layer=layer).maps, default.maps
    )
    # The slow pathway sees every fourth frame.
    features, scores = features_of(model, inputs, layer)
    assert features.shape[2] == 2
    (gradients,) = torch.autograd.grad(scores[0, default.label], features)
    expected = define(as_frames(features), as_frames(gradients))
    np.testing.assert_allclose(default.maps, expected, atol=1e-4)


PATHWAY = dict(
    type='resnet3d', depth=18, pretrained=None, conv1_kernel=(1, 7, 7), norm_eval=False
)
SLOWFAST = dict(
    type='Recognizer3D',
    backbone=dict(
        type='ResNet3dSlowFast',
        pretrained=None,
        resample_rate=4,
        speed_ratio=4,
        channel_ratio=4,
        slow_pathway=dict(PATHWAY, base_channels=8, lateral=True, inflate=(0, 0, 1, 1)),
        fast_pathway=dict(PATHWAY, base_channels=2, lateral=False),
    ),
    cls_head=dict(
        type='SlowFastHead', in_channels=80, num_classes=4, average_clips='prob'
    ),
    data_preprocessor=dict(type='ActionDataPreprocessor', format_shape='NCTHW'),
)


def test_transformer():
    model, inputs = build('timesformer_slim'), make_clip(is_2d=False)
    with pytest.raises(ValueError, match=r'of shape \(1, 48\).*like most transformers'):
        grad_cam(model, inputs)


def test_activation_checkpointing():
    layer = 'backbone.inserted_blocks.layer2.restoration'
    inputs = make_clip()
    found = [
        grad_cam(build('selfy_tsn_r18_slim', **options), inputs, layer=layer)
        for options in ({}, {'backbone__selfy__block__with_cp': True})
    ]
    np.testing.assert_array_equal(found[1].maps, found[0].maps)


@pytest.mark.parametrize(
    ('layer', 'message'),
    [
        ('backbone.layer5', r"no layer 'backbone.layer5'; .*backbone.layer4"),
        ('backbone/layer4/1/relu', r'similar names: backbone\.layer4\.1\.relu'),
        ('', "no layer ''"),
        ('cls_head.fc_cls', r'of shape \(8, 12\).* are backbone, backbone.layer4'),
        ('cls_head.avg_pool', r'of shape \(8, 64, 1, 1\)'),
        ('backbone.inserted_blocks', 'does not run'),
        ('cls_head.loss_cls', 'does not run'),
        ('backbone.inserted_blocks.layer2.transformation', r'shape \(1, 8, 8, 8, 5'),
    ],
)
def test_wrong_layer(layer, message):
    model = build('selfy_tsn_r18_slim')
    with pytest.raises(ValueError, match=message):
        grad_cam(model, make_clip(), layer=layer)


def test_layer_that_runs_twice():
    model = build('tsn_r18_slim')
    model.backbone.layer3[1].relu = model.backbone.layer4[1].relu
    with pytest.raises(ValueError, match='relu runs 2 times per clip'):
        grad_cam(model, make_clip(), layer='backbone.layer4.1.relu')


def test_layer_that_does_not_matter():
    model = build('tsn_r18_slim')
    model.extra = nn.Conv2d(3, 3, 1)
    model.backbone.register_forward_pre_hook(
        lambda _, args: (model.extra(args[0]), None)[1]
    )
    with pytest.raises(ValueError, match='the scores do not depend on layer extra'):
        grad_cam(model, make_clip(), layer='extra')


@pytest.mark.parametrize('label', [-1, 12, 1.5, True, '3'])
def test_wrong_label(label):
    with pytest.raises(ValueError, match='label must be an integer from 0 to 11'):
        grad_cam(build('tsn_r18_slim'), make_clip(), label=label)


def test_wrong_network_or_input():
    with pytest.raises(TypeError, match='Recognizer2D or Recognizer3D, not Conv2d'):
        grad_cam(nn.Conv2d(3, 3, 1), make_clip())
    model = build('tsn_r18_slim')
    for inputs in (make_clip(is_2d=False), [make_clip()], dict(inputs=None)):
        with pytest.raises(TypeError, match=r'shape \(T, 3, H, W\)'):
            grad_cam(model, inputs)
    with pytest.raises(ValueError, match='7 frames are not clips of 8'):
        grad_cam(model, pack(make_clip()['inputs'][:7]))
    with pytest.raises(TypeError, match='single precision, not in torch.bfloat16'):
        grad_cam(model.bfloat16(), make_clip())


def test_features_that_are_not_finite():
    model = build('tsn_r18_slim')
    with torch.no_grad():
        model.cls_head.fc_cls.bias.fill_(float('nan'))
    with pytest.raises(ValueError, match='not finite'):
        grad_cam(model, make_clip())
