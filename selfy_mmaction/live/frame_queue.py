# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Queue between the thread that decodes and the network."""

import threading
from collections import deque
from typing import NamedTuple

import numpy as np


class Frame(NamedTuple):
    """A frame for the network.

    Attributes:
        number: Its number among the frames for the network, from 0; those that are
            dropped count.
        seconds: Its second in the source, since the first frame.
        arrived: Second of the monotonic clock at which it was read.
        image: (H, W, 3), uint8, RGB.
        stretch: Number of the stretch without a break that it belongs to, from 0.
        reason: Why the stretch began.
    """

    number: int
    seconds: float
    arrived: float
    image: np.ndarray
    stretch: int = 0
    reason: str = ''


class FrameQueue:
    """Queue that never holds more than a few frames.

    Args:
        size: Most frames that wait.
        drops: Whether a new frame replaces the oldest one if the queue is full. If not,
            :meth:`put` waits.

    Attributes:
        dropped: Number of frames that were dropped.
    """

    def __init__(self, size: int, drops: bool) -> None:
        self._frames: deque[Frame] = deque()
        self._size = size
        self._drops = drops
        self._changed = threading.Condition()
        self._is_closed = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: Frame) -> None:
        """Add a frame. Does nothing if the queue is closed."""
        with self._changed:
            if not self._drops:
                self._changed.wait_for(
                    lambda: self._is_closed or len(self._frames) < self._size
                )
            if self._is_closed:
                return
            if len(self._frames) >= self._size:
                self._frames.popleft()
                self.dropped += 1
            self._frames.append(frame)
            self._changed.notify_all()

    def get(self, timeout: float) -> Frame | None:
        """Take the oldest frame, or None if there is none within seconds.

        If the queue is closed, the frames in it can still be taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._frames, timeout)
            if not self._frames:
                return None
            frame = self._frames.popleft()
            self._changed.notify_all()
            return frame

    @property
    def has_ended(self) -> bool:
        """Whether it is closed and empty."""
        with self._changed:
            return self._is_closed and not self._frames

    def close(self, discard: bool = False) -> None:
        """Accept no more frames.

        Args:
            discard: Whether to forget those that wait. Default: False.
        """
        with self._changed:
            self._is_closed = True
            if discard:
                self._frames.clear()
            self._changed.notify_all()
