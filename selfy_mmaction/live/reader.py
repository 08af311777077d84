# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Thread that reads a source, opens it again, and chooses frames."""

import math
import threading
import time

from selfy_mmaction.ops import check_int

from .frame_queue import Frame, FrameQueue
from .frame_rate import FrameClock
from .sources import Source, SourceError

_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # seconds before each new attempt
_FEW_FRAMES = 4  # missing frames after which the past says nothing
_JITTER = 0.5  # seconds that frames of a network camera may be late


class FrameReader(threading.Thread):
    """Thread that fills a queue with frames at the rate of a network.

    A stretch of frames ends when the source is opened again, stands still for longer
    than ``max_gap``, goes back in time, or changes the size of its frames.

    Args:
        source: An open source.
        rate: Frames per second for the network.
        realtime: Whether a video that is not live is played at its own speed. Frames of
            cameras, streams and played videos are dropped if the network is too slow;
            otherwise reading waits. Default: False.
        queue_size: Most frames that wait for the network. Default: 2.
        reconnect: Seconds for which a live source that fails is opened again and
            again, with growing pauses; 0 for never. Default: infinity.
        max_gap: Seconds without a frame that end a stretch. Default: None, four frames
            of the network or of the source, whichever are longer, but at least 0.5.

    Raises:
        ValueError: If an argument is wrong.

    Attributes:
        queue: The chosen frames.
        rate: Frames per second for the network.
        last_sign: Second of the monotonic clock at which the source last answered.
        reconnects: How many times it was opened again.
        is_waiting: Whether it has failed and is being opened again.
        is_lost: Whether it failed and did not come back in the time for it.
    """

    def __init__(
        self,
        source: Source,
        rate: float,
        *,
        realtime: bool = False,
        queue_size: int = 2,
        reconnect: float = math.inf,
        max_gap: float | None = None,
    ) -> None:
        check_int('queue_size', queue_size, least=1)
        check_reconnect(reconnect, max_gap)
        # A driver may block forever, and must not keep the process alive.
        super().__init__(daemon=True, name='live reader')
        self._source = source
        self.rate = rate
        self._reconnect = reconnect
        self._paces = realtime and not source.is_live
        if max_gap is None:
            frames = _FEW_FRAMES / min(rate, source.fps or rate)
            max_gap = max(frames, _JITTER)
        self._max_gap = max_gap
        self._clock = FrameClock(rate, source.fps)
        self._stopped = threading.Event()
        self._error: Exception | None = None
        self._number = self._stretch = 0
        self._reason = ''
        self._first: float | None = None  # second of the first frame
        self._last: float | None = None
        self._shape: tuple[int, ...] | None = None
        self.queue = FrameQueue(queue_size, drops=source.is_live or realtime)
        self.last_sign = time.monotonic()
        self.reconnects = 0
        self.is_waiting = False
        self.is_lost = False
        self._failed: float | None = None  # second of the clock of the first failure
        self._attempts = 0

    def run(self) -> None:
        """Read until the source ends or :meth:`stop` is called."""
        try:
            self._read()
            while self._source.is_live and not self._stopped.is_set():
                if not self._open_again():
                    self.is_lost = self._reconnect > 0 and not self._stopped.is_set()
                    break
                self._read()
        except Exception as error:  # raised again by check()
            self._error = error
        finally:
            self.queue.close()
            self._source.close()

    def check(self) -> None:
        """Raise the error that ended the thread, if there is one."""
        if self._error is not None:
            raise self._error

    def stop(self, timeout: float = 2.0) -> bool:
        """Stop reading.

        Args:
            timeout: Seconds to wait for the source. Default: 2.

        Returns:
            Whether the thread has ended. It has not if the source blocks.
        """
        self._stopped.set()
        self.queue.close(discard=True)
        if self.ident is not None:
            self.join(timeout)
        return not self.is_alive()

    def _read(self) -> None:
        begin: tuple[float, float] | None = None  # clock and video
        while not self._stopped.is_set():
            seconds = self._source.grab()
            arrived = self.last_sign = time.monotonic()
            if seconds is None:
                return
            if self._paces:
                begin = begin or (arrived, seconds)
                self._stopped.wait(begin[0] + seconds - begin[1] - arrived)
                arrived = self.last_sign = time.monotonic()
            self._is_back()
            self._look_for_break(seconds)
            self._last = seconds
            if self._clock.takes(seconds):
                self._add(seconds, arrived)

    def _look_for_break(self, seconds: float) -> None:
        if self._last is None:
            return
        gap = seconds - self._last
        if gap < 0:
            self._break(f'the time of the source went back by {-gap:.2f} s')
        elif gap > self._max_gap:
            self._break(f'no frame for {gap:.2f} s')

    def _break(self, reason: str) -> None:
        """Begin another stretch with the next frame."""
        self._stretch += 1
        self._reason = reason
        self._clock.restart()

    def _add(self, seconds: float, arrived: float) -> None:
        image = self._source.retrieve()
        if image is None:  # damaged; the next one may be whole
            return
        if self._shape not in (None, image.shape):
            self._break('the size of the frames changed')
            self._clock.takes(seconds)  # this frame begins the grid
        self._shape = image.shape
        if self._first is None:
            self._first = seconds
        frame = Frame(
            self._number,
            seconds - self._first,
            arrived,
            image,
            self._stretch,
            self._reason,
        )
        self._number += 1
        self.queue.put(frame)

    def _open_again(self) -> bool:
        """Open the source again; returns False if there is no time left."""
        if self._failed is None:
            self._failed = time.monotonic()
        self.is_waiting = True
        while True:
            left = self._reconnect - (time.monotonic() - self._failed)
            if left <= 0:
                return False
            pause = _PAUSES[min(self._attempts, len(_PAUSES) - 1)]
            if self._stopped.wait(min(pause, left)):
                return False
            self._attempts += 1
            self.last_sign = time.monotonic()
            try:
                self._source.open()
            except SourceError:
                continue
            finally:
                self.last_sign = time.monotonic()
            return True

    def _is_back(self) -> None:
        """Count the failure as over: not when it can be opened, but with a frame."""
        if self._failed is None:
            return
        self.reconnects += 1
        seconds = time.monotonic() - self._failed
        self._break(f'the source failed and came back after {seconds:.1f} s')
        self._last = self._failed = None
        self._attempts = 0
        self.is_waiting = False


def check_reconnect(reconnect: float, max_gap: float | None) -> None:
    """Check seconds, which takes no time.

    Raises:
        ValueError: If they are negative, or ``max_gap`` is not above 0.

    Example:
        >>> from selfy_mmaction.live.reader import check_reconnect
        >>> check_reconnect(reconnect=60, max_gap=0.5)
        >>> check_reconnect(reconnect=-1, max_gap=None)
        Traceback (most recent call last):
            ...
        ValueError: reconnect is -1, expected seconds from 0 to inf
    """
    if not reconnect >= 0:
        raise ValueError(f'reconnect is {reconnect:g}, expected seconds from 0 to inf')
    if max_gap is not None and not max_gap > 0:
        raise ValueError(f'max_gap is {max_gap:g}, expected seconds above 0')
