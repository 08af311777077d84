# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Predictions for a camera, with bounded memory and latency."""

import math
import os
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from .prediction import Prediction
from .predictor import Predictor
from .videos import check_seconds

_MOST_SECONDS = 60  # of a window, whose frames are all in memory
_MOST_FPS = 120  # some drivers declare thousands
_PATIENCE = 10  # seconds without a frame after which the camera counts as broken


class CameraPrediction(NamedTuple):
    """Prediction for the newest frames of a camera.

    Attributes:
        prediction: Its ``start`` and ``end`` are seconds since the first frame.
        latency: Seconds from the newest frame's arrival to the prediction.
        frames: Number of frames in the window.
        fps: Frames that arrived per second, on average since the start.
    """

    prediction: Prediction
    latency: float
    frames: int
    fps: float


def watch(
    predictor: Predictor,
    source: int | str | os.PathLike,
    window: float = 2.0,
    stride: float = 1.0,
    realtime: bool = True,
) -> Generator[CameraPrediction, None, None]:
    """Predict for the newest frames of a camera, again and again.

    A thread reads the camera and keeps the frames of the last ``window`` seconds. Older
    frames are dropped, so neither memory nor latency grows if the network is slower
    than the camera: predictions then become rarer. The generator ends with the camera,
    and closes it when it is closed itself.

    Args:
        predictor: The network.
        source: Index of the camera, or a video that is played as one.
        window: Seconds of video per prediction, at most 60. Default: 2.
        stride: Seconds between predictions, if the network is fast enough. Default: 1.
        realtime: Whether a video is played at its own frame rate rather than as fast as
            it can be read. Default: True.

    Yields:
        One prediction after another; the first one after ``window`` seconds.

    Raises:
        FileNotFoundError: If the video does not exist.
        TimeoutError: If no frame arrives for ten seconds.
        ValueError: If the camera cannot be opened or an argument is wrong.
    """
    check_seconds(window, stride)
    if window > _MOST_SECONDS:
        raise ValueError(
            f'window is {window:g} s, expected at most {_MOST_SECONDS} s: all of its '
            'frames are in memory'
        )
    reader = _CameraReader(source, window, realtime)
    reader.start()
    try:
        seen = 0
        while True:
            begin = time.monotonic()
            frames, count = reader.wait_for_frames(seen)
            if count == seen:
                return
            seen = count
            arrived = [frame.arrived for frame in frames]
            result = predictor.predict_frames(_InRGB(frames), str(source))
            first = reader.first_arrival
            yield CameraPrediction(
                replace(result, start=arrived[0] - first, end=arrived[-1] - first),
                time.monotonic() - arrived[-1],
                len(frames),
                (reader.count - 1) / max(reader.last_arrival - first, 1e-9),
            )
            reader.sleep(begin + stride - time.monotonic())
    finally:
        reader.stop()


class _Frame(NamedTuple):
    arrived: float  # time.monotonic()
    image: np.ndarray  # (H, W, 3), BGR


class _InRGB:
    """Sequence of frames that converts only those that are used."""

    def __init__(self, frames: Sequence[_Frame]) -> None:
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> np.ndarray:
        return cv2.cvtColor(self._frames[index].image, cv2.COLOR_BGR2RGB)


class _CameraReader(threading.Thread):
    """Thread that keeps the newest frames of a camera."""

    def __init__(
        self, source: int | str | os.PathLike, window: float, realtime: bool
    ) -> None:
        super().__init__(daemon=True, name='camera')  # a driver may block forever
        self._capture, self._is_file = _open_camera(source)
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self._fps = min(fps, _MOST_FPS) if math.isfinite(fps) and fps > 0 else 30
        self._window = window
        self._realtime = realtime
        self._frames: deque[_Frame] = deque(
            maxlen=max(2, math.ceil(window * self._fps))
        )
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._has_ended = False
        self._error: Exception | None = None
        self.count = 0
        self.first_arrival = self.last_arrival = 0.0

    def run(self) -> None:
        """Read until the camera ends or :meth:`stop` is called."""
        try:
            begin = time.monotonic()
            while not self._stopped.is_set():
                is_read, image = self._capture.read()
                if not is_read:
                    break
                self._add(image)
                if self._is_file and self._realtime:
                    due = begin + self.count / self._fps
                    self._stopped.wait(max(due - time.monotonic(), 0))
        except Exception as error:  # raised in the thread that waits for frames
            self._error = error
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()
            self._capture.release()

    def _add(self, image: np.ndarray) -> None:
        now = time.monotonic()
        with self._changed:
            if not self.count:
                self.first_arrival = now
            self.count += 1
            self.last_arrival = now
            self._frames.append(_Frame(now, image))
            while now - self._frames[0].arrived > self._window:
                self._frames.popleft()
            self._changed.notify_all()

    def wait_for_frames(self, seen: int) -> tuple[list[_Frame], int]:
        """Wait for frames that are newer than the first ``seen`` ones.

        Returns:
            The frames of the last window, and the number of frames so far, which is
            ``seen`` if the camera has ended.

        Raises:
            TimeoutError: If no frame arrives for ten seconds.
        """
        with self._changed:
            while not self._has_ended and not (self.count > seen and self._is_full()):
                count = self.count
                if not self._changed.wait(_PATIENCE) and count == self.count:
                    raise TimeoutError(f'the camera sent no frame for {_PATIENCE} s')
            if self._error is not None:
                raise self._error
            return list(self._frames), self.count

    def _is_full(self) -> bool:
        # Before the first prediction, the buffer fills for a window.
        return (
            len(self._frames) == self._frames.maxlen
            or self.last_arrival - self.first_arrival >= self._window
        )

    def sleep(self, seconds: float) -> None:
        """Sleep, but not longer than the camera runs."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_ended, max(seconds, 0))

    def stop(self) -> None:
        """Stop reading and close the camera."""
        self._stopped.set()
        self.join(timeout=2)


def _open_camera(source: int | str | os.PathLike) -> tuple[cv2.VideoCapture, bool]:
    """Return an open camera, and whether it is a video."""
    text = os.fspath(source) if not isinstance(source, int) else str(source)
    is_file = not text.isdecimal()
    if is_file and not os.path.isfile(text):
        raise FileNotFoundError(
            f'camera {text!r} is neither the index of a camera, such as 0, nor a video'
        )
    capture = cv2.VideoCapture(text if is_file else int(text))
    if not capture.isOpened():
        what = 'OpenCV cannot read it'
        if not is_file:
            what = 'check that it is connected, permitted, and not in use'
        raise ValueError(f'camera {text!r} cannot be opened; {what}')
    return capture, is_file
