# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Cameras, streams and videos, read with OpenCV."""

import math
import os
import re
import time
from typing import Protocol

import cv2
import numpy as np

TIMEOUT = 10.0
"""Seconds without an answer after which a stream counts as broken."""
_MOST_FPS = 120  # some drivers and streams declare thousands
_URL = re.compile(r'[A-Za-z][A-Za-z0-9+.-]+://')


class SourceError(ValueError):
    """Raised if a source cannot be opened."""


class Source(Protocol):
    """Where frames come from.

    Attributes:
        name: Name for messages, without a password.
        is_live: Whether it has no end: it then comes back after a failure, and frames
            that nobody takes are lost.
        fps: Frames per second that it declares; None if unknown.
    """

    name: str
    is_live: bool
    fps: float | None

    def open(self) -> None:
        """Open it, or open it again.

        Raises:
            SourceError: If it cannot be opened.
        """

    def grab(self) -> float | None:
        """Go to the next frame.

        Returns:
            Second of the frame: that of the video, or, if it is live, that of a clock.
            None at the end and after a failure.
        """

    def retrieve(self) -> np.ndarray | None:
        """Decode the frame, (H, W, 3), uint8, RGB; None after a failure."""

    def close(self) -> None:
        """Close it."""


class VideoSource:
    """A camera, stream or video.

    OpenCV is a requirement already, knows the cameras of each system, and gives up
    after a timeout.

    Args:
        source: Index of a camera, URL, or path of a video.
        timeout: Seconds without an answer of a stream. Default: 10.

    Raises:
        FileNotFoundError: If the video does not exist.
        ValueError: If ``source`` is empty or a folder.

    Attributes:
        size: Height and width that it declares; 0 if unknown.

    See :class:`Source` for the others. All are known when it is open: a URL of a video
    with an end is not live.
    """

    def __init__(self, source: str, timeout: float = TIMEOUT) -> None:
        self._source = source
        self._timeout = timeout
        self._is_url = bool(_URL.match(source))
        self._is_camera = source.isdecimal()
        self.name = f'camera {source}' if self._is_camera else mask_password(source)
        self.is_live = self._is_url or self._is_camera
        self.fps: float | None = None
        self.size = 0, 0
        self._capture: cv2.VideoCapture | None = None
        self._count = 0
        if not self.is_live:
            _check_file(source)

    def open(self) -> None:
        """See :meth:`Source.open`."""
        self.close()
        if self._is_camera:
            self._capture = cv2.VideoCapture(int(self._source))
        elif self._is_url:
            milliseconds = max(1, round(1000 * self._timeout))
            options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds]
            options += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
            self._capture = cv2.VideoCapture(self._source, cv2.CAP_FFMPEG, options)
        else:
            self._capture = cv2.VideoCapture(self._source)
        if not self._capture.isOpened():
            raise SourceError(f'{self.name} cannot be opened: {self._fix()}')
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if math.isfinite(fps) and 0 < fps <= _MOST_FPS else None
        sides = cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH
        height, width = (int(self._capture.get(side)) for side in sides)
        self.size = max(height, 0), max(width, 0)
        if self._is_url:
            # Streams without an end declare no or a negative number of frames.
            self.is_live = not self._capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0
        self._count = 0

    def grab(self) -> float | None:
        """See :meth:`Source.grab`."""
        if self._capture is None or not self._capture.grab():
            return None
        self._count += 1
        if self.is_live:
            return time.monotonic()
        seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if self._count > 1 and seconds <= 0:  # the container has no times
            seconds = (self._count - 1) / (self.fps or 30)
        return seconds

    def retrieve(self) -> np.ndarray | None:
        """See :meth:`Source.retrieve`."""
        if self._capture is None:
            return None
        is_read, image = self._capture.retrieve()
        if not is_read or image is None:
            return None
        if image.ndim == 2:
            return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        """See :meth:`Source.close`."""
        if self._capture is not None:
            self._capture.release()
        self._capture = None

    def _fix(self) -> str:
        if self._is_camera:
            return 'check that the camera is connected, permitted, and not in use'
        if self._is_url:
            return (
                'check the address, the password and the network, for example with '
                'ffplay; a message of FFmpeg above may name the reason'
            )
        return 'OpenCV cannot read it; re-encode it, for example with ffmpeg'


def mask_password(source: str) -> str:
    """Replace the password of a URL by ``***``."""
    return re.sub(r'(://[^/@\s]*?:)[^/\s]*@', r'\1***@', source)


def _check_file(source: str) -> None:
    if os.path.isfile(source):
        return
    if not source or os.path.isdir(source):
        what = f'source {source!r} is a folder' if source else 'source is empty'
        raise ValueError(
            f'{what}; expected a video, the index of a camera, such as 0, or a URL'
        )
    if os.path.exists(source):  # a device, such as /dev/video0, or a pipe
        return
    raise FileNotFoundError(
        f'source {source!r} is neither a video, nor the index of a camera, such as 0, '
        'nor a URL, such as rtsp://HOST/PATH'
    )
