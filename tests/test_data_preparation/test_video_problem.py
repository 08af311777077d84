# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Problems found in complete, truncated and damaged videos."""

import os
import subprocess
import time

import cv2
import numpy as np
import pytest
from mmaction.registry import TRANSFORMS

from selfy_mmaction.data_preparation import decoding
from selfy_mmaction.data_preparation.gym import find_ffmpeg
from selfy_mmaction.data_preparation.media import video_problem
from selfy_mmaction.data_preparation.media_checks import video_problems
from selfy_mmaction.datasets.video_files import declared_size

ENCODERS = {
    'avi': ['-c:v', 'mjpeg'],
    'mp4': ['-c:v', 'libx264'],
    'webm': ['-c:v', 'libvpx'],
    'mkv': ['-c:v', 'libx264'],
}


def decoded_problem(path, decoder='Decord'):
    """Return the problem of a video, with all frames decoded."""
    (problem,) = video_problems([path], {0}, decoder, workers=1, name='clips')
    return problem


@pytest.fixture(scope='module', params=[*ENCODERS, 'mp4 faststart'])
def encoded(request, video, tmp_path_factory):
    try:
        ffmpeg = find_ffmpeg()
    except FileNotFoundError:
        pytest.skip('neither ffmpeg nor imageio-ffmpeg is installed')
    suffix, *flags = request.param.split()
    path = tmp_path_factory.mktemp('encoded') / f'clip.{suffix}'
    options = ENCODERS[suffix] + ['-movflags', 'faststart'] * len(flags)
    command = [ffmpeg, '-loglevel', 'error', '-i', str(video), *options, str(path)]
    subprocess.run(command, check=True)
    return path


def test_complete_video(encoded):
    with encoded.open('rb') as file:
        assert declared_size(file) == encoded.stat().st_size
    assert decoded_problem(encoded) is None


@pytest.mark.parametrize('kept', [0.5, 0.8])
def test_truncated_video(encoded, kept, tmp_path):
    content = encoded.read_bytes()
    path = tmp_path / encoded.name
    path.write_bytes(content[: int(kept * len(content))])
    kind, sentence = video_problem(path)
    assert kind in ('truncated', 'unreadable')
    if kind == 'truncated':
        assert f'({path.stat().st_size} of at least ' in sentence


def test_damaged_frames(video, tmp_path):
    """Only decoding finds frames that were overwritten with zeros."""
    content = bytearray(video.read_bytes())
    half = len(content) // 2
    content[half : half + len(content) // 4] = bytes(len(content) // 4)
    path = tmp_path / video.name
    path.write_bytes(content)
    assert video_problem(path) is None
    kind, sentence = decoded_problem(path)
    assert kind == 'unreadable'
    assert 'cannot be decoded' in sentence


@pytest.mark.parametrize('content', [b'\x1a\x45\xdf\xa3', b'RIFF', b'\0' * 100])
def test_fragments(content, tmp_path):
    path = tmp_path / 'clip.webm'
    path.write_bytes(content)
    assert video_problem(path)[0] in ('truncated', 'unreadable')


def encode(video, path, *options, before=()) -> None:
    try:
        ffmpeg = find_ffmpeg()
    except FileNotFoundError:
        pytest.skip('neither ffmpeg nor imageio-ffmpeg is installed')
    command = [ffmpeg, '-loglevel', 'error', *before, '-i', str(video)]
    subprocess.run([*command, *options, str(path)], check=True)


@pytest.mark.parametrize(
    ('name', 'options', 'codec'),
    [
        ('clip.avi', ['-vf', 'scale=1:1', '-c:v', 'mjpeg'], 'MJPG, 1x1'),
        ('clip.mp4', ['-vf', 'scale=2:2', '-c:v', 'libx264'], 'h264, 2x2'),
        ('clip.gif', [], 'gif, 64x48'),
        ('clip.mp4', ['-c:v', 'libaom-av1', '-cpu-used', '8'], 'AV01, 64x48'),
    ],
)
def test_videos_that_decord_cannot_decode(name, options, codec, video, tmp_path):
    path = tmp_path / name
    encode(video, path, *options)
    kind, sentence = decoded_problem(path)
    assert kind == 'unreadable'
    assert f'codec {codec} pixels' in sentence


def test_wrong_frames(video, tmp_path):
    """In an MPEG-TS, decord starts at the second keyframe, frame 12."""
    path = tmp_path / 'clip.ts'
    options = ['-c:v', 'libx264', '-g', '12', '-bf', '2']
    encode(video, path, *options)
    assert video_problem(path) is None
    kind, _ = decoded_problem(path)
    assert kind in ('other_frames', 'unreadable')  # unreadable if it is rejected
    encode(video, tmp_path / 'clip.mp4', *options)
    assert decoded_problem(tmp_path / 'clip.mp4') is None


class Shifted:
    """Decoder that returns wrong frames."""

    def __init__(self, change) -> None:
        self.change = change

    def __call__(self, results):
        images = [np.full((48, 64, 3), 6 * i, np.uint8) for i in range(40)]
        for image in images:
            image[:24, :16] = 255
        return {'imgs': self.change(images, results['frame_inds'])}


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (lambda images, wanted: [images[i] for i in wanted], None),
        (
            lambda images, wanted: [images[max(i - 1, 0)] for i in wanted],
            'returns frame 1 instead of 2 with Decord',
        ),
        (
            lambda images, wanted: [images[i][::-1, ::-1] for i in wanted],
            'is not rotated upright by Decord',
        ),
        (
            lambda images, wanted: [images[i].swapaxes(0, 1) for i in wanted],
            'has frames of 64x48 pixels, but Decord returns 48x64',
        ),
        (lambda images, wanted: images[99], 'cannot be decoded by Decord (list index'),
        (lambda images, wanted: os.abort(), 'crashes the process in which Decord'),
        (lambda images, wanted: time.sleep(60), 'is not decoded by Decord within 2 s'),
    ],
)
def test_misbehaving_decoders(change, sentence, tmp_path, monkeypatch):
    path = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter_fourcc(*'MJPG'), 12, (64, 48)
    )
    wanted = np.arange(40)
    for image in Shifted(lambda images, _: images)({'frame_inds': wanted})['imgs']:
        writer.write(image)
    writer.release()
    build = TRANSFORMS.build
    monkeypatch.setattr(
        TRANSFORMS,
        'build',
        lambda cfg: Shifted(change) if 'Decode' in cfg['type'] else build(cfg),
    )
    monkeypatch.setattr(decoding, 'TIMEOUT', 2)
    problem = decoded_problem(path)
    assert problem is None if sentence is None else sentence in problem[1]


def test_declared_duration(video, tmp_path):
    """A truncated MKV of unknown size is too short; sound may be longer than video."""
    whole = tmp_path / 'whole.mkv'
    encode(video, whole, '-c:v', 'libx264', '-g', '4', '-cluster_time_limit', '300')
    content = whole.read_bytes()
    segment = content.index(b'\x18\x53\x80\x67') + 4
    unknown = content[:segment] + b'\x01' + b'\xff' * 7 + content[segment + 8 :]
    path = tmp_path / 'clip.mkv'
    path.write_bytes(unknown)
    assert decoded_problem(path) is None
    path.write_bytes(unknown[: len(unknown) * 6 // 10])
    assert video_problem(path) is None
    kind, sentence = decoded_problem(path)
    assert kind in ('length', 'unreadable')
    assert 'of the 3.3 seconds' in sentence or 'frames' in sentence
    sound = tmp_path / 'sound.mkv'
    options = ['-f', 'lavfi', '-i', 'sine=d=8', '-c:v', 'libx264', '-c:a', 'aac']
    encode(video, sound, *options)
    assert decoded_problem(sound) is None


def test_hidden_frames_are_not_counted(video, tmp_path):
    """A cut with "-c copy" keeps and hides the frames since the last keyframe."""
    whole, path = tmp_path / 'whole.mp4', tmp_path / 'clip.mp4'
    encode(video, whole, '-c:v', 'libx264', '-g', '40')
    encode(whole, path, '-c', 'copy', before=['-ss', '2'])
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 40
    problem = decoded_problem(path)
    assert problem is None or problem[0] == 'other_frames'  # decord seeks wrongly


def test_rotated_video(video, tmp_path):
    upright, path = tmp_path / 'upright.mp4', tmp_path / 'clip.mp4'
    encode(video, upright, '-c:v', 'libx264', '-vf', 'scale=64:64')
    encode(upright, path, '-c', 'copy', before=['-display_rotation', '90'])
    assert video_problem(path)[0] == 'rotated'
    assert decoded_problem(path)[0] == 'rotated'


def test_codec_that_only_pyav_supports(video, tmp_path, monkeypatch):
    """OpenCV cannot decode AV1, but a mock of PyAV can."""
    path = tmp_path / 'clip.mp4'
    encode(video, path, '-c:v', 'libaom-av1', '-cpu-used', '8')
    images = [np.zeros((48, 64, 3), np.uint8)] * 40
    transforms = {
        'PyAVInit': lambda results: {**results, 'total_frames': 40},
        'PyAVDecode': lambda results: {'imgs': images[: len(results['frame_inds'])]},
    }
    monkeypatch.setattr(TRANSFORMS, 'build', lambda cfg: transforms[cfg['type']])
    assert decoded_problem(path, 'PyAV') is None
