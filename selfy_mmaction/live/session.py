# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""A network on the frames of a source: results, breaks, and a summary."""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from selfy_mmaction.inference import ClassProbability

from .frame_queue import Frame
from .latencies import Latencies
from .reader import FrameReader
from .recognizers import LiveRecognizer

_PATIENCE = 60.0  # seconds; OpenCV's own timeouts are shorter


class LiveResult(NamedTuple):
    """Result after a frame.

    Attributes:
        frame: The newest frame.
        probabilities: Probability of each class, (C,), float64.
        model_seconds: Seconds of the network for this frame.
        latency: Seconds from the arrival of the frame to the result.
        dropped: Number of frames dropped since the start.
    """

    frame: Frame
    probabilities: np.ndarray
    model_seconds: float
    latency: float
    dropped: int

    def top(self, names: Sequence[str], number: int) -> tuple[ClassProbability, ...]:
        """Return the most probable classes, the most probable first."""
        best = np.argsort(-self.probabilities, kind='stable')[:number]
        return tuple(
            ClassProbability(int(i), names[i], float(self.probabilities[i]))
            for i in best
        )


class LiveReset(NamedTuple):
    """A break, after which the network forgot all frames.

    Attributes:
        seconds: Second of the first frame after it, since the first frame.
        reason: What happened.
    """

    seconds: float
    reason: str


class LiveSession:
    """Runs a network on the frames of a reader.

    Args:
        reader: The reader, not started.
        recognizer: The network.

    Attributes:
        steps: Number of frames that the network got.
        results: Number of results.
        resets: Number of breaks.
        model: Times of the network per frame.
        end_to_end: Times from the arrival of a frame to its result.
    """

    def __init__(self, reader: FrameReader, recognizer: LiveRecognizer) -> None:
        self.reader = reader
        self._recognizer = recognizer
        self.steps = self.results = self.resets = 0
        self.model, self.end_to_end = Latencies(), Latencies()

    def run(self, tick: float = 0.1) -> Iterator[LiveResult | LiveReset | None]:
        """Read and recognize. To be called once.

        The reader is stopped when the iterator is closed.

        Args:
            tick: Seconds without a frame after which the caller gets control. Default:
                0.1.

        Yields:
            Results and resets in the order of the frames; None if there is nothing.

        Raises:
            TimeoutError: If the driver of the source hangs.
        """
        self.reader.start()
        stretch = 0
        try:
            while not self.reader.queue.has_ended:
                frame = self.reader.queue.get(tick)
                if frame is None:
                    self._check_patience()
                    yield None
                    continue
                if frame.stretch != stretch:
                    stretch = frame.stretch
                    self._recognizer.reset()
                    self.resets += 1
                    yield LiveReset(frame.seconds, frame.reason)
                result = self._step(frame)
                if result is not None:
                    yield result
            self.reader.check()
        finally:
            self.reader.stop()

    def _step(self, frame: Frame) -> LiveResult | None:
        probabilities = self._recognizer.step(frame.image)
        end = time.monotonic()
        self.steps += 1
        seconds = self._recognizer.model_seconds
        if seconds is not None:
            self.model.add(seconds)
        if probabilities is None:
            return None
        self.results += 1
        self.end_to_end.add(end - frame.arrived)
        return LiveResult(
            frame,
            probabilities,
            seconds or 0.0,
            end - frame.arrived,
            self.reader.queue.dropped,
        )

    def _check_patience(self) -> None:
        silence = time.monotonic() - self.reader.last_sign
        if silence > _PATIENCE and not self.reader.is_waiting:
            raise TimeoutError(
                f'the driver of the source has not answered for {silence:.0f} s; check '
                'the camera, then start again'
            )

    def summary(self) -> str:
        """Describe the run in a few lines."""
        dropped = self.reader.queue.dropped
        lines = [
            f'{self.steps} frames, {dropped} dropped, {self.results} results, '
            f'{self.resets} resets, {self.reader.reconnects} reconnects'
        ]
        for name, times in (('network', self.model), ('end to end', self.end_to_end)):
            if times.count:
                median, late = (1000 * times.quantile(part) for part in (0.5, 0.95))
                lines.append(
                    f'{name}: median {median:.1f} ms, 95 % within {late:.1f} ms'
                )
        if dropped:
            lines.append(
                'frames were dropped: the network was too slow for '
                f'{self.reader.rate:g} frames per second; where one is missing, things '
                'seemed to move faster. Use a faster mode, network or device'
            )
        return '\n'.join(lines)


def as_line(item: LiveResult | LiveReset, names: Sequence[str], top_k: int) -> str:
    """Format a result or a reset as a line of JSON, without a line break.

    Args:
        item: The result or reset.
        names: Class names.
        top_k: Number of classes.

    Example:
        >>> import numpy as np
        >>> from selfy_mmaction.live.frame_queue import Frame
        >>> from selfy_mmaction.live.session import LiveReset, LiveResult, as_line
        >>> as_line(LiveReset(4.0, 'the source was opened again'), [], top_k=1)
        '{"event": "reset", "time": 4.0, "reason": "the source was opened again"}'
        >>> frame = Frame(10, 0.8, arrived=0, image=np.zeros((68, 68, 3), np.uint8))
        >>> result = LiveResult(frame, np.array([0.25, 0.75]), 0.01, 0.02, dropped=0)
        >>> print(as_line(result, ['wave', 'point'], top_k=1))
        {"event": "result", "time": 0.8, "frame": 10, "top": [{...}], ...}
    """
    content: dict[str, Any]
    if isinstance(item, LiveReset):
        content = dict(event='reset', time=round(item.seconds, 3), reason=item.reason)
    else:
        content = dict(
            event='result',
            time=round(item.frame.seconds, 3),
            frame=item.frame.number,
            top=[
                dict(each._asdict(), probability=round(each.probability, 6))
                for each in item.top(names, top_k)
            ],
            model_ms=round(1000 * item.model_seconds, 2),
            latency_ms=round(1000 * item.latency, 2),
            dropped=item.dropped,
        )
    return json.dumps(content, ensure_ascii=False)
