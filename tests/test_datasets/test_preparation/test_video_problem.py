# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Containers that ffmpeg wrote, whole and cut short."""

import subprocess

import pytest

from selfy_mmaction.datasets.preparation.gym import find_ffmpeg
from selfy_mmaction.datasets.preparation.media import announced_size, video_problem

ENCODERS = {
    'avi': ['-c:v', 'mjpeg'],
    'mp4': ['-c:v', 'libx264'],
    'webm': ['-c:v', 'libvpx'],
    'mkv': ['-c:v', 'libx264'],
}


@pytest.fixture(scope='module', params=[*ENCODERS, 'mp4 to be streamed'])
def encoded(request, video, tmp_path_factory):
    try:
        ffmpeg = find_ffmpeg()
    except FileNotFoundError:
        pytest.skip('neither ffmpeg nor imageio-ffmpeg is installed')
    suffix, *streamed = request.param.split(' ', 1)
    path = tmp_path_factory.mktemp('encoded') / f'clip.{suffix}'
    options = ENCODERS[suffix] + ['-movflags', 'faststart'] * len(streamed)
    command = [ffmpeg, '-loglevel', 'error', '-i', str(video), *options, str(path)]
    subprocess.run(command, check=True)
    return path


def test_whole(encoded):
    assert announced_size(encoded) == encoded.stat().st_size
    assert video_problem(encoded, decode=True) is None


@pytest.mark.parametrize('kept', [0.5, 0.8])
def test_cut_short(encoded, kept, tmp_path):
    content = encoded.read_bytes()
    path = tmp_path / encoded.name
    path.write_bytes(content[: int(kept * len(content))])
    kind, sentence = video_problem(path)
    assert kind in ('truncated', 'unreadable')
    if kind == 'truncated':
        assert f'({path.stat().st_size} of at least ' in sentence


def test_damaged_inside(video, tmp_path):
    """Zeros where frames were: the header does not tell, decoding does."""
    content = bytearray(video.read_bytes())
    half = len(content) // 2
    content[half : half + len(content) // 4] = bytes(len(content) // 4)
    path = tmp_path / video.name
    path.write_bytes(content)
    assert video_problem(path) is None
    kind, sentence = video_problem(path, decode=True)
    assert kind == 'unreadable'
    assert 'cannot be decoded' in sentence


@pytest.mark.parametrize('content', [b'\x1a\x45\xdf\xa3', b'RIFF', b'\0' * 100])
def test_fragments(content, tmp_path):
    path = tmp_path / 'clip.webm'
    path.write_bytes(content)
    assert video_problem(path)[0] in ('truncated', 'unreadable')
