# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Which frames of a source the network gets."""

import numpy as np
import pytest
from mmaction.registry import TRANSFORMS

from selfy_mmaction.live.frame_rate import (
    ClipSampling,
    FrameClock,
    check_rate,
    choose_rate,
    find_sampling,
)

SEGMENTS = dict(type='SampleFrames', clip_len=1, num_clips=8, test_mode=True)


def chosen(rate, times, source_fps=None):
    clock = FrameClock(rate, source_fps)
    return [index for index, second in enumerate(times) if clock.takes(second)]


@pytest.mark.parametrize(('fps', 'rate'), [(25, 4), (30, 7), (29.97, 4), (12, 4)])
def test_nearest_frames(fps, rate):
    times = 5 + np.arange(round(10 * fps)) / fps
    grid = 5 + np.arange(10 * rate) / rate
    distances = np.abs(times[chosen(rate, times, fps)] - grid)
    nearest = np.abs(times[:, None] - grid).min(0)
    np.testing.assert_allclose(distances, nearest, atol=1e-9)


@pytest.mark.parametrize('rate', [30, 31, 60, 240])
def test_all_frames_of_a_source_that_is_not_faster(rate):
    times = np.round(np.arange(300) / 30, 3)  # containers have milliseconds
    assert chosen(rate, times, 30) == [*range(300)]


def test_jitter_and_silence_change_no_rate():
    rng = np.random.default_rng(0)
    times = np.sort(np.arange(0, 60, 1 / 30) + rng.uniform(0, 0.03, 1800))
    times = times[(times < 20) | (times > 25)]
    taken = times[chosen(5, times)]
    assert len(taken) == pytest.approx(5 * 55, abs=2)
    # After the silence, nothing is made up for.
    assert np.sum((taken > 25) & (taken < 26)) <= 6


@pytest.mark.parametrize(
    ('step', 'num_segments', 'expected'),
    [
        (SEGMENTS, None, (1, 8, None, None)),
        (dict(SEGMENTS, num_clips=25), 8, (1, 8, None, None)),
        (
            dict(type='SampleFrames', clip_len=32, frame_interval=2, num_clips=10),
            None,
            (32, 1, 2, None),
        ),
        (
            dict(type='SampleFrames', clip_len=16, frame_interval=4, target_fps=30),
            None,
            (16, 1, 4, 30),
        ),
        (
            dict(type='DenseSampleFrames', clip_len=1, num_clips=8, sample_range=64),
            8,
            (1, 8, 8, None),
        ),
        (dict(type='UniformSample', clip_len=16), None, (16, 1, None, None)),
    ],
)
def test_sampling_of_a_pipeline(step, num_segments, expected):
    sampling = find_sampling([TRANSFORMS.build(step)], num_segments)
    assert sampling == expected


def test_pipeline_without_sampling():
    with pytest.raises(ValueError, match='no step with clip_len'):
        find_sampling([], None)


@pytest.mark.parametrize(
    ('sampling', 'source_fps', 'options', 'expected'),
    [
        (ClipSampling(1, 8, None, None), 25, {}, 4),  # 8 frames in 2 seconds
        (ClipSampling(1, 8, None, None), 25, dict(clip_seconds=4), 2),
        (ClipSampling(1, 8, None, None), 25, dict(fps=12.5), 12.5),
        (ClipSampling(32, 1, 2, None), 25, {}, 12.5),
        (ClipSampling(32, 1, 2, None), None, {}, 15),  # of 30, which is usual
        (ClipSampling(16, 1, 4, 20), 25, {}, 5),
    ],
)
def test_rate(sampling, source_fps, options, expected):
    assert choose_rate(sampling, source_fps, **options).fps == expected


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ((0, None), 'fps is 0, expected a number above 0'),
        ((float('nan'), None), 'fps is nan'),
        ((float('inf'), None), 'fps is inf'),
        ((None, -1), 'clip_seconds is -1'),
        ((1, 1), 'give one of them'),
        ((1000, None), 'fps is 1000, expected at most 240'),
    ],
)
def test_wrong_rates(options, message):
    with pytest.raises(ValueError, match=message):
        check_rate(*options)


def test_rate_that_only_the_source_makes_too_high():
    with pytest.raises(ValueError, match='800 frames per second are too many'):
        choose_rate(ClipSampling(1, 8, None, None), 25, clip_seconds=0.01)
