# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Predictions equal those of mmaction2's test.py, and of videos cut by hand."""

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
from mmaction.apis import inference_recognizer, init_recognizer
from mmengine.config import Config
from mmengine.hub import get_config

from selfy_mmaction.checkpoints import SAMPLE_CLIP, packaged_config
from selfy_mmaction.datasets.reading import UnreadableError
from selfy_mmaction.evaluation.dumps import load_dump
from selfy_mmaction.inference import Predictor, predict
from selfy_mmaction.inference.pipeline import OpenVideo
from selfy_mmaction.run import tools_folder

NAME = 'tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb.py'


def test_probabilities_of_test_py(
    files, predictor, names, motion_tiny, run_script, tmp_path
):
    dump = tmp_path / 'dump.pkl'
    run_script(
        *(tools_folder() / 'test.py', files.config, files.checkpoint),
        *('--dump', dump, '--work-dir', tmp_path),
    )
    tested = load_dump(dump)
    lines = (motion_tiny / 'val.txt').read_text().splitlines()
    videos = [motion_tiny / 'videos' / line.split()[0] for line in lines]
    assert len(tested.scores) == len(videos) == 16
    assert np.ptp(tested.scores, axis=0).max() > 0.01  # else any clip would do
    for video, scores in zip(videos, tested.scores, strict=True):
        (result,) = predictor.predict(video)
        np.testing.assert_allclose(result.probabilities, scores, atol=1e-6)
        assert result.probabilities.sum() == pytest.approx(1, abs=1e-12)
        assert result.start == 0
        assert result.video == str(video)
        assert [each.label for each in result.top] == [*np.argsort(-scores)]
        assert [each.name for each in result.top] == [
            names[label] for label in np.argsort(-scores)
        ]


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores.astype(float))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize('average_clips', ['prob', 'score', None])
def test_scores_become_probabilities_once(files, clips, tmp_path, average_clips):
    """With ten crops, each clip has ten views."""
    config = Config.fromfile(files.config)
    config.model.cls_head.average_clips = average_clips
    for pipeline in (config.test_dataloader.dataset.pipeline, config.test_pipeline):
        pipeline[3] = dict(type='TenCrop', crop_size=64)
    model = init_recognizer(config, str(files.checkpoint), 'cpu')
    scores = inference_recognizer(model, str(clips[0])).pred_score.numpy()
    if average_clips == 'prob':
        expected = scores
    elif average_clips == 'score':
        expected = softmax(scores)
    else:
        assert scores.shape == (10, 4)
        expected = softmax(scores).mean(axis=0)
    (result,) = predict(clips[0], config, files.checkpoint, device='cpu')
    np.testing.assert_allclose(result.probabilities, expected, atol=1e-6)
    assert result.probabilities.sum() == pytest.approx(1, abs=1e-12)


def test_windows_equal_videos_cut_by_hand(predictor, frames, write):
    """Frames 10 k to 10 k + 20 at 10 frames per second, and a rest of 7 frames."""
    long = write('lang und breit.avi', frames[:47])
    results = [*predictor.predict(long, window=2, stride=1)]
    firsts = [0, 10, 20, 27]
    assert [result.start for result in results] == pytest.approx([0, 1, 2, 2.7])
    assert [result.end for result in results] == pytest.approx([2, 3, 4, 4.7])
    for result, first in zip(results, firsts, strict=True):
        cut = write('cut.avi', frames[first : first + 20])
        (expected,) = predictor.predict(cut)
        np.testing.assert_allclose(
            result.probabilities, expected.probabilities, atol=1e-6
        )
    assert np.ptp([result.probabilities for result in results], axis=0).max() > 0.01


@pytest.mark.parametrize('decoder', ['OpenCV', 'PyAV'])
def test_windows_of_other_decoders(files, predictor, frames, write, decoder):
    config = Config.fromfile(files.config)
    pipeline = config.test_dataloader.dataset.pipeline
    pipeline[0].type, pipeline[2].type = f'{decoder}Init', f'{decoder}Decode'
    other = Predictor(config, files.checkpoint, device='cpu', batch_size=2)
    video = write('video.avi', frames[:60])
    ours = [*other.predict(video, window=2, stride=0.7)]
    expected = [*predictor.predict(video, window=2, stride=0.7)]
    assert len(ours) == len(expected) == 7
    for one, two in zip(ours, expected, strict=True):
        assert (one.start, one.end) == pytest.approx((two.start, two.end))
        # They convert colors differently.
        np.testing.assert_allclose(one.probabilities, two.probabilities, atol=0.05)


@pytest.mark.parametrize('stride', [0.5, 0.9, 1.3])
@pytest.mark.parametrize('decoder', ['Decord', 'PyAV'])
def test_windows_of_a_video_without_seeking(
    files, frames, tmp_path, monkeypatch, stride, decoder
):
    """Each window equals the window by itself, and no frame is decoded twice."""
    config = Config.fromfile(files.config)
    pipeline = config.test_dataloader.dataset.pipeline
    pipeline[0].type, pipeline[2].type = f'{decoder}Init', f'{decoder}Decode'
    predictor = Predictor(config, files.checkpoint, device='cpu', batch_size=2)
    command = (
        '-loglevel error -f rawvideo -pix_fmt rgb24 -s 68x68 -r 10 -i - -c:v libx265 '
        '-pix_fmt yuv420p -tag:v hvc1 -x265-params '
        'log-level=none:keyint=12:open-gop=1:bframes=4:b-adapt=0:scenecut=0'
    )
    video = tmp_path / 'phone.mp4'
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), *command.split(), video],
        input=frames[:60].tobytes(),
        check=True,
    )
    decoded = []
    decode = OpenVideo._decode

    def record(self, sample, indices):
        decoded.extend(indices)
        return decode(self, sample, indices)

    monkeypatch.setattr(OpenVideo, '_decode', record)
    results = [*predictor.predict(video, window=1, stride=stride)]
    assert decoded == sorted(set(decoded))
    windows = predictor.pipeline.open(str(video)).cut(1, stride)
    assert len(results) == len(windows) == {0.5: 11, 0.9: 7, 1.3: 5}[stride]
    for result, window in zip(results, windows, strict=True):
        (((_, inputs, _),),) = predictor.pipeline.open(str(video)).read([window], 1)
        (expected,), _ = predictor._run([inputs])
        np.testing.assert_allclose(result.probabilities, expected, atol=1e-6)


def test_video_not_longer_than_a_window_is_one_clip(predictor, frames, write):
    video = write('short.avi', frames[:20])
    (whole,) = predictor.predict(video)
    (window,) = predictor.predict(video, window=2)
    assert (window.probabilities == whole.probabilities).all()
    assert (window.start, window.end) == (0, 2)


def test_few_frames_are_noted(predictor, frames, write):
    (result,) = predictor.predict(write('three.avi', frames[:3]))
    assert result.note == '3 frames for a clip of 8: some are repeated'
    assert result.note in str(result)
    (result,) = predictor.predict(write('eight.avi', frames[:8]))
    assert result.note == ''


def test_frames_in_memory_equal_the_video(predictor, clips, frames):
    (expected,) = predictor.predict(clips[0])
    result = predictor.predict_frames(frames[: len(frames) // 4])
    # OpenCV and decord convert colors differently.
    np.testing.assert_allclose(result.probabilities, expected.probabilities, atol=0.05)


def test_unreadable_video_is_named_and_the_predictor_goes_on(
    predictor, clips, tmp_path
):
    broken = tmp_path / 'broken clip.mp4'
    broken.write_bytes(b'no video' * 1000)
    with pytest.raises(UnreadableError, match=r'broken clip\.mp4 cannot be read: .*'):
        [*predictor.predict(broken)]
    truncated = tmp_path / 'truncated.avi'
    truncated.write_bytes(clips[0].read_bytes()[:-3000])
    with pytest.raises(UnreadableError, match='truncated'):
        [*predictor.predict(truncated, window=1)]
    assert [*predictor.predict(clips[0])]


def test_predict_in_three_lines(files, clips):
    results = [*predict(clips[:2], *map(str, files), top_k=2, device='cpu')]
    assert [result.video for result in results] == [*map(str, clips[:2])]
    assert [len(result.top) for result in results] == [2, 2]
    best = results[0].top[0]
    assert f'{best.name} {best.probability:.3f}' in str(results[0])
    assert results[0].decode_seconds > 0
    assert results[0].model_seconds > 0


def test_any_recognizer_of_mmaction2(save_network, clips, tmp_path):
    config = get_config(f'mmaction::recognition/tsn/{NAME}')
    config.model.backbone.depth = 18
    config.model.cls_head.in_channels = 512
    # 25 frames and ten crops; the clip has 64x64 pixels.
    for pipeline in (config.test_dataloader.dataset.pipeline, config.test_pipeline):
        pipeline[3] = dict(type='Resize', scale=(-1, 40))
        pipeline[4] = dict(type='TenCrop', crop_size=32)
    checkpoint = save_network(config, tmp_path / 'stock.pth')
    (result,) = predict(clips[0], config, checkpoint, device='cpu')
    model = init_recognizer(config, str(checkpoint), 'cpu')
    scores = inference_recognizer(model, str(clips[0])).pred_score.numpy()
    np.testing.assert_allclose(result.probabilities, scores, atol=1e-6)
    assert len(result.probabilities) == 400
    assert result.top[0].name == str(scores.argmax())


def test_nothing_given():
    (result,) = predict(device='cpu')
    assert result.video == str(SAMPLE_CLIP)
    assert len(result.probabilities) == 12
    # The clip's card names its class.
    assert result.top[0].name == 'go_right'
    assert result.top[0].probability > 0.9


def test_config_of_a_packaged_network(clips):
    name = 'selfy_mmaction://selfy-tsn-r18-slim-motion'
    (result,) = predict(clips[3], checkpoint=name, device='cpu')
    (expected,) = predict(clips[3], packaged_config(name), name, device='cpu')
    assert (result.probabilities == expected.probabilities).all()
    with pytest.raises(FileNotFoundError, match='selfy-tsn-r18-slim-motion'):
        predict(clips[3], checkpoint='selfy_mmaction://none')
