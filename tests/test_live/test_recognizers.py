# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Live results are those of streaming, of the last clip, and of predict."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config

from selfy_mmaction.deployment.streaming import StreamingRecognizer
from selfy_mmaction.inference import Predictor
from selfy_mmaction.live.preparation import FramePreparation
from selfy_mmaction.live.recognizers import make_recognizer, sampling_of

CONFIGS = Path(__file__).parents[2] / 'configs'
SLOWONLY = 'slowonly-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'
TSM = 'selfy-tsm-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'
CROPS = [
    dict(type='DecordInit'),
    dict(type='SampleFrames', clip_len=1, num_clips=8, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 80)),
    dict(type='ThreeCrop', crop_size=64),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs'),
]


@pytest.fixture(scope='module')
def make_predictor(tmp_path_factory):
    """Build an untrained network of the motion benchmark."""

    def make(name: str, **changes) -> Predictor:
        config = Config.fromfile(CONFIGS / 'motion' / name)
        config.merge_from_dict(changes)
        torch.manual_seed(0)
        model = MODELS.build(config.model)
        torch.nn.init.normal_(model.cls_head.fc_cls.weight, std=0.5)
        path = tmp_path_factory.mktemp('network') / 'network.pth'
        torch.save(dict(state_dict=model.state_dict()), path)
        return Predictor(config, path, device='cpu')

    return make


def results(recognizer, frames) -> list[np.ndarray | None]:
    return [recognizer.step(frame) for frame in frames]


def test_exact_is_streaming(predictor, frames):
    frames = frames[::2]
    recognizer = make_recognizer(predictor, 'exact')
    found = results(recognizer, frames)
    # The test pipeline crops 64 of 68 pixels in the center.
    images = torch.from_numpy(frames[:, 2:66, 2:66].copy()).permute(0, 3, 1, 2)
    data = dict(inputs=[images], data_samples=[ActionDataSample()])
    data = predictor.model.data_preprocessor(data)['inputs']
    stream = StreamingRecognizer(predictor.model, average_frames=8)
    expected = stream.forward_steps(data)[0][0].double().softmax(-1)
    assert found[:2] == [None, None]  # the largest offset is 2
    np.testing.assert_allclose(found[2:], expected, atol=1e-5)
    assert 'exact' in recognizer.about


def test_window_is_the_last_clip(predictor, frames):
    recognizer = make_recognizer(predictor)
    assert 'cached features' in recognizer.about
    found = results(recognizer, frames[:12])
    assert found[:7] == [None] * 7
    for end in range(8, 13):
        expected = predictor.predict_frames(frames[end - 8 : end]).probabilities
        np.testing.assert_allclose(found[end - 1], expected, atol=1e-5)


@pytest.mark.parametrize(
    ('name', 'reason'), [(SLOWONLY, 'Recognizer3D'), (TSM, 'TSM')], ids=['3D', 'TSM']
)
def test_networks_that_cannot_stream(make_predictor, frames, name, reason):
    predictor = make_predictor(name)
    recognizer = make_recognizer(predictor)
    assert recognizer.stride == 2  # a quarter of 8 frames
    assert 'run as a whole every 2 frames' in recognizer.about
    assert reason in recognizer.about
    found = results(recognizer, frames[:12])
    assert [each is not None for each in found] == [False] * 7 + [True, False] * 2 + [
        True
    ]
    for end in (8, 10, 12):
        expected = predictor.predict_frames(frames[end - 8 : end]).probabilities
        np.testing.assert_allclose(found[end - 1], expected, atol=1e-6)
    with pytest.raises(ValueError, match='mode exact: .* or use mode window'):
        make_recognizer(predictor, 'exact')


def test_several_crops_become_one(predictor, make_predictor, frames):
    dataset = dict(pipeline=CROPS)
    several = make_predictor(TSM, test_dataloader=dict(dataset=dataset))
    center = [
        dict(CROPS[4], type='CenterCrop') if i == 4 else s for i, s in enumerate(CROPS)
    ]
    dataset = dict(pipeline=center)
    one = make_predictor(TSM, test_dataloader=dict(dataset=dataset))
    wide = np.pad(frames[:8], ((0, 0), (0, 0), (20, 20), (0, 0)), 'edge')
    found = results(make_recognizer(several), wide)[-1]
    expected = one.predict_frames(wide).probabilities
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize('mode', ['exact', 'window'])
def test_reset_forgets_everything(predictor, frames, mode):
    recognizer = make_recognizer(predictor, mode)
    first = results(recognizer, frames[:9])
    results(recognizer, frames[9:])
    recognizer.reset()
    for again, before in zip(results(recognizer, frames[:9]), first, strict=True):
        assert (again is None) == (before is None)
        if before is not None:
            np.testing.assert_array_equal(again, before)


def test_warming_up_leaves_no_trace(predictor, frames):
    recognizer = make_recognizer(predictor, 'window', stride=3)
    recognizer.warm_up(70, 90)
    found = results(recognizer, frames[:14])
    given = [index for index, each in enumerate(found) if each is not None]
    assert given == [7, 10, 13]


@pytest.mark.parametrize('mode', ['exact', 'window'])
def test_time_of_the_network(predictor, frames, mode):
    recognizer = make_recognizer(predictor, mode, stride=4)
    results(recognizer, frames[:2])
    assert 0 < recognizer.model_seconds < 60


def test_wrong_arguments(predictor):
    with pytest.raises(ValueError, match="mode must be 'window' or 'exact'"):
        make_recognizer(predictor, 'clip')
    with pytest.raises(ValueError, match='stride must be an integer from 1'):
        make_recognizer(predictor, stride=0)


def test_frames_per_clip(predictor):
    assert sampling_of(predictor) == (1, 8, None, None)


def test_pipeline_without_format(frames):
    preparation = FramePreparation([])
    packed = preparation.pack([preparation.prepare(frame) for frame in frames[:3]])
    np.testing.assert_array_equal(packed['imgs'], frames[:3])
