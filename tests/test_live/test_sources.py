# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Videos, and the streams of IP cameras: Motion JPEG over HTTP, and RTSP."""

import time

import numpy as np
import pytest
from rtsp_server import RTSPServer

from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.live import reader as reader_module
from selfy_mmaction.live.reader import FrameReader
from selfy_mmaction.live.sources import SourceError, VideoSource, mask_password


def test_video(frames):
    source = VideoSource(str(SAMPLE_CLIP))
    for _ in range(2):  # it can be opened again
        source.open()
        assert (source.is_live, source.fps, source.size) == (False, 12, (68, 68))
        images, times = [], []
        while (second := source.grab()) is not None:
            times.append(second)
            images.append(source.retrieve())
        np.testing.assert_allclose(times, np.arange(24) / 12, atol=1e-6)
        np.testing.assert_array_equal(images, frames)
    source.close()
    assert source.grab() is None
    assert source.retrieve() is None


def test_ip_camera(frames, ip_camera):
    source = VideoSource(ip_camera(6), timeout=5)
    source.open()
    assert source.is_live
    assert source.size == (68, 68)
    before = time.monotonic()
    times = []
    while (second := source.grab()) is not None:
        times.append(second)
        image = source.retrieve()
        assert np.abs(image.astype(int) - frames[len(times) - 1]).mean() < 8  # JPEG
    assert 5 <= len(times) <= 6
    assert before <= times[0]
    assert times == sorted(times)
    source.close()


def test_rtsp_that_comes_back(frames, monkeypatch):
    monkeypatch.setattr(reader_module, '_PAUSES', (0.05,))
    with RTSPServer([*frames], fps=30, lengths=[30, 30]) as server:
        source = VideoSource(server.url, timeout=5)
        source.open()
        assert source.is_live
        reader = FrameReader(source, 30, queue_size=100, reconnect=1)
        reader.run()
        server.shutdown()
    assert reader.reconnects == 1
    assert reader.is_lost  # after the second connection
    taken = [reader.queue.get(0) for _ in range(len(reader.queue))]
    assert {frame.stretch for frame in taken} == {0, 1}
    for frame in taken:
        differences = np.abs(frame.image.astype(int) - frames).mean((1, 2, 3))
        assert differences.min() < 10  # H.264


def test_nobody_answers():
    source = VideoSource('http://user:secret@127.0.0.1:9/cam', timeout=1)
    with pytest.raises(SourceError, match=r'http://user:\*\*\*@127.0.0.1:9/cam cannot'):
        source.open()


def test_no_such_camera():
    source = VideoSource('97')
    with pytest.raises(SourceError, match='camera 97 cannot be opened: check that the'):
        source.open()


def test_no_video(tmp_path):
    path = tmp_path / 'täxt.mp4'
    path.write_text('text')
    with pytest.raises(SourceError, match='täxt.mp4 cannot be opened: OpenCV cannot'):
        VideoSource(str(path)).open()
    with pytest.raises(ValueError, match='is a folder'):
        VideoSource(str(tmp_path))
    with pytest.raises(ValueError, match='source is empty'):
        VideoSource('')
    with pytest.raises(FileNotFoundError, match="source 'none' is neither a video"):
        VideoSource('none')


@pytest.mark.parametrize(
    ('source', 'expected'),
    [
        ('rtsp://me:p:w@host:554/a', 'rtsp://me:***@host:554/a'),
        ('rtsp://me:p@ss@host/a', 'rtsp://me:***@host/a'),
        ('rtsp://host:554/a@b', 'rtsp://host:554/a@b'),
        ('rtsp://me@host/a', 'rtsp://me@host/a'),
        ('a:b@c.mp4', 'a:b@c.mp4'),
    ],
)
def test_passwords_are_masked(source, expected):
    assert mask_password(source) == expected
