# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The frames of a source that a network gets."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

_DEFAULT_SECONDS = 2.0  # per clip, as in `predict --webcam`
_USUAL_FPS = 30.0
_MOST_RATE = 240.0


class ClipSampling(NamedTuple):
    """How a test pipeline samples one clip.

    Attributes:
        clip_len: ``clip_len`` of the pipeline: 1 for recognizers of single frames.
        num_clips: ``num_clips`` of one view.
        interval: Distance of sampled frames, in frames of the video; None if they are
            spread over the whole video.
        fps: Frame rate to which videos are converted before; None if they are not.
    """

    clip_len: int
    num_clips: int
    interval: float | None
    fps: float | None

    @property
    def frames(self) -> int:
        """Frames per clip, T."""
        return self.clip_len * self.num_clips


def find_sampling(steps: Sequence[Any], num_segments: int | None) -> ClipSampling:
    """Read the sampling of one view from the steps of a test pipeline.

    Args:
        steps: The steps between opening and decoding.
        num_segments: Frames per clip of the network; None if it takes any number.

    Raises:
        ValueError: If no step samples frames.
    """
    sampling = [step for step in steps if hasattr(step, 'clip_len')]
    if not sampling:
        kinds = ', '.join(type(step).__name__ for step in steps) or 'none'
        raise ValueError(
            'the test pipeline has no step with clip_len, such as SampleFrames; its '
            f'steps before decoding are: {kinds}'
        )
    step = sampling[-1]
    clip_len, num_clips = step.clip_len, getattr(step, 'num_clips', 1)
    interval: float | None = None
    if clip_len > 1:
        num_clips = 1  # the others are views of the same video
        interval = getattr(step, 'frame_interval', None)
    else:
        num_clips = num_segments or num_clips
        if hasattr(step, 'sample_range'):
            interval = step.sample_range / step.num_clips
    fps = getattr(step, 'target_fps', None)
    return ClipSampling(clip_len, num_clips, interval, fps)


def check_rate(fps: float | None, clip_seconds: float | None) -> None:
    """Check the options for the rate, which takes no time.

    Raises:
        ValueError: If one is not a positive number, or both are given.

    Example:
        >>> from selfy_mmaction.live.frame_rate import check_rate
        >>> check_rate(fps=12.5, clip_seconds=None)
        >>> check_rate(fps=12.5, clip_seconds=2)
        Traceback (most recent call last):
            ...
        ValueError: fps and clip_seconds both set the rate of the frames; ...
    """
    for name, value in (('fps', fps), ('clip_seconds', clip_seconds)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ValueError(f'{name} is {value:g}, expected a number above 0')
    if fps is not None and clip_seconds is not None:
        raise ValueError(
            'fps and clip_seconds both set the rate of the frames; give one of them'
        )
    if fps is not None and fps > _MOST_RATE:
        raise ValueError(f'fps is {fps:g}, expected at most {_MOST_RATE:g}')


class Rate(NamedTuple):
    """Rate of the frames that the network gets.

    Attributes:
        fps: Frames per second.
        reason: Where it comes from.
    """

    fps: float
    reason: str


def choose_rate(
    sampling: ClipSampling,
    source_fps: float | None,
    fps: float | None = None,
    clip_seconds: float | None = None,
) -> Rate:
    """Choose the rate of the frames that the network gets.

    Args:
        sampling: How the test pipeline samples.
        source_fps: Frame rate of the source; None if unknown.
        fps: The user's choice. Default: None.
        clip_seconds: The user's choice of the seconds that T frames span. Default:
            None.

    Raises:
        ValueError: See :func:`check_rate`.

    Example:
        >>> from selfy_mmaction.live.frame_rate import ClipSampling, choose_rate
        >>> sampling = ClipSampling(clip_len=8, num_clips=1, interval=4, fps=None)
        >>> choose_rate(sampling, source_fps=30).reason
        'one of 4 frames at 30 per second, as in the test pipeline'
        >>> choose_rate(sampling, source_fps=30, clip_seconds=2).fps
        4.0
    """
    check_rate(fps, clip_seconds)
    if fps is not None:
        return Rate(fps, 'as chosen')
    if clip_seconds is not None:
        rate, reason = sampling.frames / clip_seconds, 'as chosen'
    elif sampling.interval is not None:
        base = sampling.fps or source_fps or _USUAL_FPS
        rate = base / sampling.interval
        reason = f'one of {sampling.interval:g} frames at {base:g} per second, as in '
        reason += 'the test pipeline'
    else:
        rate = sampling.frames / _DEFAULT_SECONDS
        reason = (
            f'the test pipeline spreads {sampling.frames} frames over whole videos of '
            f'unknown length; {_DEFAULT_SECONDS:g} s are assumed, --clip-seconds '
            'changes it'
        )
    if rate > _MOST_RATE:
        raise ValueError(
            f'{rate:g} frames per second are too many, expected at most '
            f'{_MOST_RATE:g}; choose fps or clip_seconds'
        )
    return Rate(rate, reason)


class FrameClock:
    """Chooses the frames nearest to a regular grid of times.

    Args:
        rate: Frames per second to choose. If the source has fewer, all are chosen.
        source_fps: Frame rate of the source. Default: None, unknown.
    """

    def __init__(self, rate: float, source_fps: float | None = None) -> None:
        self._rate = rate
        # Of two frames around a time of the grid, the nearer one.
        self._slack = 0.499 / source_fps if source_fps else 0.0
        self._start: float | None = None
        self._due = 0.0

    def restart(self) -> None:
        """Let the grid begin with the next frame."""
        self._start = None

    def takes(self, seconds: float) -> bool:
        """Return whether a frame is chosen; its second must not go back."""
        if self._start is None:
            self._start = self._due = seconds
        late = seconds + self._slack
        if late < self._due:
            return False
        number = math.floor((late - self._start) * self._rate + 1e-6) + 1
        self._due = self._start + number / self._rate
        return True
