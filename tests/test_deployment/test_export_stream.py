# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The exported step gives the results of the eager stream after each frame."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from streaming_networks import CLASSES, build

from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.deployment import comparison, exporting, formats
from selfy_mmaction.deployment.exported_stream import ExportedStream
from selfy_mmaction.deployment.sliding_windows import SlidingWindowRecognizer
from selfy_mmaction.deployment.streaming import StreamingRecognizer

pytest.importorskip('onnxruntime', reason='needs the extra "deploy"')
SIZE = (40, 56)
MEAN, STD = (100, 110, 120), (50, 60, 70)
CONFIG = 'selfy_mmaction::motion/selfy-tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'
NETWORK = (CONFIG, 'selfy_mmaction://selfy-tsn-r18-slim-motion')
GAUSSIAN = dict(transformation=dict(type='EmbeddedGaussianTransformation'))
FRAMES, SCORES = 'frames', 'scores'
BLOCK = [f'blocks.0.{part}' for part in ('maps', 'inside', 'features')]
WINDOW = ['blocks.0.maps', 'blocks.0.features']
# Options of the network, mode, average_frames, format, and what the state holds.
CASES = {
    'exact': ({}, 'exact', None, 'pt2', [*BLOCK, SCORES, FRAMES]),
    'exact gaussian': (GAUSSIAN, 'exact', 3, 'onnx', [*BLOCK, SCORES, FRAMES]),
    'causal, last frame': (
        dict(offsets=(-2, -1, 0)),
        'exact',
        1,
        'torchscript',
        [*BLOCK[:2], FRAMES],
    ),
    'nothing of the past': (dict(offsets=(0,)), 'exact', 1, 'onnx', [FRAMES]),
    'two blocks': (
        dict(GAUSSIAN, after=('res3', 'res4')),
        'exact',
        3,
        'torchscript',
        [*BLOCK, *(name.replace('0', '1') for name in BLOCK), SCORES, FRAMES],
    ),
    **{
        f'causal TSM to {format}': (
            dict(
                offsets=(-2, -1, 0),
                backbone=dict(type='ResNetTSMSELFY', causal_shift=True),
            ),
            'exact',
            3,
            format,
            # An eighth of the 4 channels of the first three is nothing.
            [*BLOCK[:2], SCORES, FRAMES, *(f'shifts.{k}' for k in range(3, 8))],
        )
        for format in ('onnx', 'torchscript', 'pt2')
    },
    'window': ({}, 'window', None, 'torchscript', [*WINDOW, SCORES, FRAMES]),
    'small window': (dict(num_segments=5), 'window', None, 'pt2', [*WINDOW, FRAMES]),
}
# The others have the same steps in the same formats.
SLOW = {
    *('exact gaussian', 'nothing of the past', 'small window'),
    *('causal TSM to onnx', 'causal TSM to pt2'),
}


def recognizer(**options):
    network = build(**options)
    network.data_preprocessor = MODELS.build(
        dict(
            type='mmaction.ActionDataPreprocessor',
            mean=MEAN,
            std=STD,
            to_rgb=True,
            format_shape='NCHW',
        )
    )
    return network.eval()


@pytest.mark.parametrize(
    ('options', 'mode', 'average', 'format', 'holds'),
    [
        pytest.param(*case, id=name, marks=pytest.mark.slow if name in SLOW else [])
        for name, case in CASES.items()
    ],
)
def test_steps_equal_the_eager_stream(options, mode, average, format, holds):
    network = recognizer(**options)
    exported = ExportedStream(network, SIZE, mode, average)
    assert [each.holds for each in exported.state] == holds
    frame = torch.zeros(2, 3, *SIZE, dtype=torch.uint8)
    file = formats.export(exported, (frame, *exported.clean_state(2)), format)
    if mode == 'exact':
        eager = StreamingRecognizer(network, average)
    else:
        eager = SlidingWindowRecognizer(network)
    assert exported.stream.delay == eager.delay
    for streams in (1, 3):
        generator = np.random.default_rng(streams)
        frames = generator.integers(0, 256, (10, streams, 3, *SIZE), dtype=np.uint8)
        mean, std = (np.float32(x).reshape(3, 1, 1) for x in (MEAN, STD))
        normalized = torch.from_numpy((frames[:, :, ::-1] - mean) / std)
        tensors = []
        for each in exported.state:
            shape = (streams, *each.shape[1:]) if each.batched else each.shape
            tensors.append(torch.zeros(shape, dtype=each.dtype).numpy())
        state = None
        for step in range(10):
            scores, state = eager.forward_step(normalized[step], state)
            found, *tensors = file.run(frames[step], *tensors)
            assert found.shape == (streams, CLASSES)
            if scores is not None:
                np.testing.assert_allclose(found, scores.softmax(-1), atol=1e-5)
            elif mode == 'exact':
                np.testing.assert_allclose(found, 1 / CLASSES, rtol=1e-6)


@pytest.mark.slow
def test_packaged_network_in_half_precision(tmp_path):
    out = tmp_path / 'a.pt'
    options = dict(stream='window', half=True)
    result = exporting.export_network(*NETWORK, out, 'torchscript', **options)
    assert (result.steps, result.batches) == (23, (1, 2, 3))
    assert 0 < result.largest_difference < 0.02
    card = json.loads(Path(f'{out}.json').read_text(encoding='utf-8'))
    assert card['input'] == dict(
        name='frame', shape=['batch', 3, 64, 64], dtype='uint8'
    )
    stream = card['stream']
    assert (stream['mode'], stream['delay'], stream['num_frames']) == ('window', 7, 8)
    assert [part['dtype'] for part in stream['state']] == [
        'float16',
        'float16',
        'float32',
        'int64',
    ]
    assert stream['state'][2] == dict(
        input='state_2',
        output='next_state_2',
        shape=['batch', 3, 12],
        dtype='float32',
        holds='scores',
    )


def test_a_state_that_is_lost_is_noticed(tmp_path, monkeypatch):
    real = exporting.export

    def forgets(*args, **kwargs):
        file = real(*args, **kwargs)

        def run(frame, *state):
            result, *following = file.run(frame, *state)
            return result, state[0], *following[1:]

        return file._replace(run=run)

    monkeypatch.setattr(exporting, 'export', forgets)
    options = dict(stream='exact', average_frames=8, dynamic=False)
    with pytest.raises(exporting.ComparisonError, match='is not written'):
        exporting.export_network(*NETWORK, tmp_path / 'a.pt', 'torchscript', **options)
    assert not list(tmp_path.iterdir())


def test_streams_of_the_comparison_are_real_frames():
    predictor = exporting.Predictor(*NETWORK, device='cpu')
    clips = comparison.read_clips(predictor, str(SAMPLE_CLIP))
    inputs = torch.stack([clip['inputs'] for clip in clips])
    exported = ExportedStream(predictor.model, (64, 64), 'exact', 8)
    seen = []

    def run(frame, *state):
        seen.append(frame)
        with torch.no_grad():
            return [
                x.numpy() for x in exported(*map(torch.from_numpy, (frame, *state)))
            ]

    result = comparison.compare_stream(
        run, exported, predictor, clips, inputs, (2,), 1e-3
    )
    assert result.passed
    assert len(seen) == result.steps == 18
    # The second stream is a clip ahead of the first one.
    first, second = np.stack(seen, 1)
    np.testing.assert_array_equal(first[8:], second[:10])
    np.testing.assert_array_equal(first[:8], inputs[0].numpy())


def test_what_cannot_stream_is_refused_by_name(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        network = recognizer(backbone=dict(type='ResNetTSMSELFY'))
    with pytest.raises(ValueError, match='ResNetTSMSELFY cannot stream: '):
        ExportedStream(network, SIZE)
    with pytest.raises(ValueError, match="must be 'exact' or 'window', but got"):
        ExportedStream(recognizer(), SIZE, 'both')
