# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Frames sampled by the configs equal the formulas of the official loader.

That loader is TSN's, with TSM's dense sampling and second clip. Formulas have n frames
and t segments. Frames are numbered from 1 in the loader and from 0 here.
"""

from pathlib import Path

import numpy as np
import pytest
from mmaction.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import Compose

ROOT = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'
SEGMENTS = {
    'sthv1': 8,
    'sthv1_16f': 16,
    'sthv2': 8,
    'sthv2_16f': 16,
    'diving48': 16,
    'gym99': 8,
    'gym288_3f': 3,
}
LENGTHS = [*range(1, 100), 128, 255, 300, 1000]


def train_formula(n, t):
    duration = n // t
    if duration == 0:
        return np.zeros(t, int)
    return np.arange(t) * duration + np.random.randint(duration, size=t)


def val_formula(n, t):
    if n <= t:
        return np.zeros(t, int)
    tick = n / t
    return np.array([int(tick / 2 + tick * i) for i in range(t)])


def second_clip_formula(n, t):
    tick = n / t
    return np.array([int(tick * i) for i in range(t)])


def dense_formula(n, t, start):
    return np.array([(start + i * (64 // t)) % n for i in range(t)])


def sampler(name, loader, **changes):
    """Build the transforms that sample frames; a change of None drops one."""
    pipeline = Config.fromfile(ROOT / f'{name}.py')[f'{loader}_dataloader'].dataset
    steps = [
        {**step, **changes.get(step.type, {})}
        for step in pipeline.pipeline
        if step.type in ('SampleFrames', 'DenseSampleFrames', 'ShortClips')
        and changes.get(step.type, {}) is not None
    ]
    return Compose([TRANSFORMS.build(step) for step in steps])


def frames(sample, n, start_index=0):
    results = sample(dict(total_frames=n, start_index=start_index))
    assert results['frame_inds'].dtype == np.int32
    return results['frame_inds']


@pytest.mark.parametrize(('name', 't'), SEGMENTS.items())
def test_training_frames(name, t):
    sample = sampler(name, 'train')
    for n in LENGTHS:
        for seed in range(3):
            np.random.seed(seed)
            expected = train_formula(n, t)
            np.random.seed(seed)
            np.testing.assert_array_equal(frames(sample, n), expected, f'{n} frames')


@pytest.mark.parametrize('n', [8, 17, 39, 40])
def test_training_draws_every_frame_of_a_segment(n):
    np.random.seed(0)
    sample = sampler('sthv2', 'train')
    drawn = np.stack([frames(sample, n) for _ in range(300)])
    duration = n // 8
    for i, segment in enumerate(drawn.T):
        assert set(segment) == set(range(i * duration, (i + 1) * duration))


@pytest.mark.parametrize(('name', 't'), SEGMENTS.items())
def test_validation_frames(name, t):
    sample = sampler(name, 'val')
    for n in LENGTHS:
        np.testing.assert_array_equal(
            frames(sample, n), val_formula(n, t), f'{n} frames'
        )


def test_frames_on_disk_are_numbered_from_1():
    sample = sampler('sthv1', 'val')
    for n in (5, 8, 9, 40):
        expected = val_formula(n, 8) + 1
        np.testing.assert_array_equal(frames(sample, n, start_index=1), expected)


@pytest.mark.parametrize(('name', 't'), [('sthv1', 8), ('sthv2_16f', 16)])
def test_two_clips(name, t):
    sample = sampler(name, 'test', SampleFrames=dict(twice_sample=True))
    for n in LENGTHS:
        expected = [val_formula(n, t), second_clip_formula(n, t) * (n > t)]
        np.testing.assert_array_equal(frames(sample, n), np.concatenate(expected))


def test_diving48_is_tested_on_two_clips():
    expected = [val_formula(100, 16), second_clip_formula(100, 16)]
    sample = sampler('diving48', 'test')
    np.testing.assert_array_equal(frames(sample, 100), np.concatenate(expected))


@pytest.mark.parametrize('n', range(1, 9))
def test_mmaction2_spreads_the_frames_of_short_clips(n):
    # Without ShortClips. TSM's test script also omits the special case.
    sampled = frames(sampler('sthv2', 'val', ShortClips=None), n)
    np.testing.assert_array_equal(sampled, [int((i + 0.5) * n / 8) for i in range(8)])
    # In training, mmaction2 rounds, and indices after the last frame wrap around.
    sampled = frames(sampler('sthv2', 'train', ShortClips=None), n)
    np.testing.assert_array_equal(sampled, [round(i * n / 8) % n for i in range(8)])


@pytest.mark.parametrize('clip_len', [1, 4])
def test_short_clips_changes_only_segments_of_one_frame(clip_len):
    # Clips of several frames are not sampled by segments.
    short = TRANSFORMS.build(dict(type='ShortClips'))
    results = dict(
        total_frames=2,
        start_index=1,
        clip_len=clip_len,
        num_clips=4,
        frame_inds=np.array([1, 1, 2, 2]),
    )
    expected = [1, 1, 1, 1] if clip_len == 1 else [1, 1, 2, 2]
    assert short(results)['frame_inds'].tolist() == expected


def test_kinetics_training_frames():
    sample = sampler('kinetics400', 'train')
    for n in LENGTHS:
        positions = max(1, 1 + n - 64)
        np.random.seed(n)
        start = np.random.randint(0, positions - 1) if positions > 1 else 0
        np.random.seed(n)
        np.testing.assert_array_equal(frames(sample, n), dense_formula(n, 16, start))


def test_kinetics_is_tested_on_10_clips():
    sample = sampler('kinetics400', 'test')
    for n in LENGTHS:
        starts = np.linspace(0, max(0, n - 64), num=10, dtype=int)
        expected = [dense_formula(n, 16, start) for start in starts]
        np.testing.assert_array_equal(frames(sample, n), np.concatenate(expected))


def test_kinetics_is_validated_on_the_first_clip():
    # The official loader draws the start at random; ours is reproducible.
    sample = sampler('kinetics400', 'val')
    for n in LENGTHS:
        np.testing.assert_array_equal(frames(sample, n), dense_formula(n, 16, 0))
