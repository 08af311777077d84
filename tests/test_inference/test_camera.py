# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Predictions for a camera; a video plays its role."""

import threading
import time

import cv2
import numpy as np
import pytest

from selfy_mmaction.inference import Predictor, camera
from selfy_mmaction.inference.camera import watch


class SlowPredictor(Predictor):
    """Predictor that takes a tenth of a second and counts what it holds."""

    def __init__(self, predictor):
        self.__dict__.update(predictor.__dict__)
        self.seen = []

    def predict_frames(self, frames, source='frames'):
        self.seen.append(len(frames))
        time.sleep(0.1)
        return super().predict_frames(frames, source)


@pytest.fixture
def slow(predictor):
    return SlowPredictor(predictor)


def camera_threads():
    return [thread for thread in threading.enumerate() if thread.name == 'camera']


def test_camera_that_is_faster_than_the_network(slow, frames, write):
    """3000 frames arrive within a few tenths of a second."""
    video = write('fast.avi', np.tile(frames, (32, 1, 1, 1))[:3000], fps=30)
    results = [*watch(slow, video, window=1, stride=0.01, realtime=False)]
    assert 1 <= len(results) < 60  # most frames were dropped
    assert max(slow.seen) <= 30  # one second, whatever arrives
    assert all(result.latency < 5 for result in results)
    assert not camera_threads()


def test_last_frames_of_the_camera(predictor, frames, write):
    video = write('end.avi', frames[:40], fps=20)
    *_, last = watch(predictor, video, window=1, stride=5, realtime=False)
    # The buffer holds the last second.
    expected = []
    capture = cv2.VideoCapture(str(video))
    while (read := capture.read())[0]:
        expected.append(read[1][..., ::-1])
    expected = predictor.predict_frames(np.stack(expected[-20:]))
    np.testing.assert_allclose(
        last.prediction.probabilities, expected.probabilities, atol=1e-6
    )
    assert last.frames == 20
    assert last.prediction.video == str(video)


def test_video_in_real_time(predictor, frames, write):
    video = write('real.avi', frames[:30], fps=20)
    begin = time.monotonic()
    results = [*watch(predictor, video, window=0.5, stride=0.2)]
    assert 1.4 < time.monotonic() - begin < 10
    assert results[-1].prediction.end == pytest.approx(1.45, abs=0.5)
    assert all(
        0 < each.prediction.end - each.prediction.start <= 0.5 for each in results
    )


def test_closing_stops_the_camera(predictor, frames, write):
    video = write('long.avi', np.tile(frames, (10, 1, 1, 1)), fps=10)
    results = watch(predictor, video, window=0.3, stride=0.1)
    next(results)
    assert camera_threads()
    results.close()
    assert not camera_threads()


def test_shorter_than_a_window(predictor, frames, write):
    video = write('short.avi', frames[:5], fps=10)
    (result,) = watch(predictor, video, window=10, stride=1)
    assert result.frames == 5


def test_cameras_that_cannot_be_used(predictor, tmp_path):
    def first(source, *args):
        return next(watch(predictor, source, *args))

    with pytest.raises(FileNotFoundError, match="'none' is neither the index"):
        first('none')
    with pytest.raises(ValueError, match="camera '97' cannot be opened; check that"):
        first(97)
    (tmp_path / 'text.mp4').write_text('text')
    with pytest.raises(ValueError, match='OpenCV cannot read it'):
        first(tmp_path / 'text.mp4')
    with pytest.raises(ValueError, match='window is 61 s, expected at most 60'):
        first(0, 61.0)
    with pytest.raises(ValueError, match='stride is 0'):
        first(0, 1, 0)


class Camera:
    """Stand-in for ``cv2.VideoCapture``."""

    def __init__(self, source):
        pass

    def isOpened(self):  # noqa: N802
        return True

    def get(self, key):
        return 0.0  # unknown

    def release(self):
        pass


def test_camera_that_sends_nothing(predictor, monkeypatch):
    class Silent(Camera):
        def read(self):
            time.sleep(1)
            return True, np.zeros((68, 68, 3), np.uint8)

    monkeypatch.setattr(cv2, 'VideoCapture', Silent)
    monkeypatch.setattr(camera, '_PATIENCE', 0.1)
    with pytest.raises(TimeoutError, match=r'sent no frame for 0\.1 s'):
        next(watch(predictor, 0))
    assert not camera_threads()


def test_error_of_the_camera_is_raised(predictor, monkeypatch):
    class Broken(Camera):
        def read(self):
            raise cv2.error('the driver failed')

    monkeypatch.setattr(cv2, 'VideoCapture', Broken)
    with pytest.raises(cv2.error, match='the driver failed'):
        next(watch(predictor, 0))
