# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The claims of the second motion benchmark's data card hold."""

import json
from collections import Counter
from itertools import combinations

import cv2
import decord
import numpy as np
import pytest

from selfy_mmaction.motion_benchmark import (
    PRESETS,
    class_names,
    clip_label,
    make_motion,
    render_clip,
)
from selfy_mmaction.motion_benchmark.drawing import periodic_noise
from selfy_mmaction.motion_benchmark.stories.orders import behind_curtain, through
from selfy_mmaction.motion_benchmark.stories.rendering import SPLITS, render_group
from selfy_mmaction.motion_benchmark.stories.stories import STORIES

CORRUPTED = ('val_occluded', 'val_blurred')


def views(values, offsets):
    """Count what each frame sees of a path: differences at some temporal offsets."""
    count = len(values)
    return Counter(
        tuple(
            None if not 0 <= t + offset < count else values[t + offset] - values[t]
            for offset in offsets
        )
        for t in range(count)
    )


def sampled_phases(telling, order):
    """Return the phases at the middle of each segment; NaN differs from everything."""
    phases = np.where(telling.hidden, np.nan, telling.phases)
    return np.round(9 * phases[telling.orders[order]][1::3], 3)


@pytest.mark.parametrize('tell', [through, behind_curtain])
def test_orders_are_those_of_the_same_frames(tell):
    telling = tell()
    for order in telling.orders:
        assert sorted(order) == list(range(24))
    np.testing.assert_array_equal(telling.orders[1], telling.orders[0][::-1])
    np.testing.assert_allclose(telling.phases[::-1], -telling.phases)
    middles = telling.orders[:, 1::3]  # the frames that test pipelines sample
    np.testing.assert_array_equal(np.sort(middles), np.sort(middles[:1].repeat(4, 0)))
    first, second, third, fourth = telling.phases[telling.orders]
    # The second and fourth are the first and third in the other direction.
    np.testing.assert_allclose(second, -first)
    np.testing.assert_allclose(fourth, -third)


def test_phases_of_each_order():
    ninths = 9 * through().phases[through().orders]
    pause = [0] * 6
    out_and_back = [3, 5, 7, 9, 8, 6, 4, 2, 1]
    np.testing.assert_allclose(ninths[0], [*range(-9, 0), *pause, *range(1, 10)])
    np.testing.assert_allclose(
        ninths[2], [*out_and_back, *pause, *(-x for x in out_and_back)]
    )
    telling = behind_curtain()
    shown = np.where(telling.hidden, 0, telling.phases)[telling.orders]
    assert shown[0].tolist() == [-1] * 9 + [0] * 6 + [1] * 9
    assert shown[2].tolist() == [-1] * 6 + [0] * 3 + [1] * 9 + [0] * 3 + [-1] * 3


@pytest.mark.parametrize(
    ('tell', 'offsets', 'confused'),
    [
        (through, (0,), {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}),
        (through, (-1, 0, 1), set()),
        (behind_curtain, (-1, 0, 1), {(0, 1), (2, 3)}),
        (behind_curtain, (-2, -1, 0, 1, 2), {(0, 1)}),
        (behind_curtain, (-3, -2, -1, 0, 1, 2, 3), set()),
    ],
)
def test_offsets_that_distinguish_the_orders(tell, offsets, confused):
    telling = tell()

    def seen(order):
        counts = views(sampled_phases(telling, order), offsets)
        return Counter(
            {str(view).replace('-0.0', '0.0'): n for view, n in counts.items()}
        )

    found = {
        pair for pair in combinations(range(4), 2) if seen(pair[0]) == seen(pair[1])
    }
    assert found == confused


@pytest.mark.parametrize('split', SPLITS)
@pytest.mark.parametrize('story', STORIES)
def test_clips_of_a_story_consist_of_the_same_frames(story, split):
    clips = render_group(story, 0, split, 3)
    assert len(clips) == 4
    for clip in clips:
        assert clip.shape == (24, 68, 68, 3)
        assert clip.dtype == np.uint8
    # A function of unordered frames is the same for all four, so it is right for at
    # most one of them.
    if split not in CORRUPTED:
        first, *others = (Counter(map(bytes, clip)) for clip in clips)
        assert all(other == first for other in others)
    for first, second in combinations(clips, 2):
        assert not np.array_equal(first, second)


def test_labels_are_the_orders_of_consecutive_clips():
    names = class_names('stories-small')
    assert len(set(names)) == len(names)
    assert names[:4] == STORIES['slide_x'].classes
    assert [clip_label('stories-small', i) for i in (0, 3, 4, len(names))] == [
        0,
        3,
        4,
        0,
    ]
    first = render_group('hide', 5, 'val', 1)
    for member in range(4):
        clip = render_clip('stories-small', 'val', 4 + member, seed=5)
        np.testing.assert_array_equal(clip, first[member])


def transform(scale=1.0, angle=0.0, shift=(0, 0)):
    """Return a function that moves an image; clockwise on the screen."""
    matrix = cv2.getRotationMatrix2D((33.5, 33.5), -np.degrees(angle), scale)
    matrix[:, 2] += shift
    return lambda image: cv2.warpAffine(image, matrix, (68, 68))


def layer_errors(story, order, candidates):
    """Return how well each transform predicts a frame from the one three before."""
    inner = (slice(16, 52), slice(16, 52))
    errors = dict.fromkeys(candidates, 0.0)
    for group in range(6):
        clip = render_group(story, 0, 'val', group)[order]
        for before, after in zip(clip[0:6], clip[3:9], strict=True):
            changed = np.abs(after.astype(float) - before)[inner] > 20
            for name, moves in candidates.items():
                errors[name] += min(
                    np.abs(move(before).astype(float) - after)[inner][changed].mean()
                    for move in moves
                )
    return errors


@pytest.mark.parametrize(
    ('story', 'candidates'),
    [
        (
            'slide_x',
            [
                [transform(shift=(sign * step, 0)) for step in range(3, 10)]
                for sign in (1, -1)
            ],
        ),
        (
            'slide_y',
            [
                [transform(shift=(0, sign * step)) for step in range(3, 10)]
                for sign in (1, -1)
            ],
        ),
        (
            'turn',
            [
                [transform(angle=sign * step) for step in (0.2, 0.26, 0.32)]
                for sign in (1, -1)
            ],
        ),
        (
            'zoom',
            [
                [transform(scale=np.exp(sign * step)) for step in (0.11, 0.14, 0.17)]
                for sign in (1, -1)
            ],
        ),
    ],
)
def test_motion_is_that_of_the_class_name(story, candidates):
    names = STORIES[story].classes[:2]
    for order, name in enumerate(names):
        errors = layer_errors(story, order, dict(zip(names, candidates, strict=True)))
        assert min(errors, key=errors.get) == name


@pytest.mark.parametrize('story', STORIES)
def test_motion_per_segment_is_large_enough_and_inside_the_window(story):
    # About one position of the 8x8 grid: less is invisible, more than two leaves the
    # window of 5x5 at offset 1.
    telling = STORIES[story].tell()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        script = STORIES[story].write(rng, telling.phases)
        paths = [item.path for item in script.items]
        # Turns and zooms at 24 px from the center.
        far = [
            np.concatenate([p[:, :2], 24 * p[:, 2:3], 24 * np.expm1(p[:, 3:])], 1)
            for p in paths
        ]
        for order in telling.orders:
            steps = [np.diff(path[order][1::3], axis=0) for path in far]
            largest = max(np.linalg.norm(step, axis=1).max() for step in steps)
            assert 3 < largest < 30


def test_shapes_are_invisible_in_a_frame_of_noise():
    # All cells are independent, so that borders of shapes look like any other border.
    frames = np.concatenate(
        [render_group('pass', 0, 'val_noise', g)[0] for g in range(8)]
    )
    cells = frames[:, 1:66:3, 1:66:3].astype(float)
    np.testing.assert_array_equal(cells.repeat(3, 1).repeat(3, 2), frames[:, :66, :66])
    values = (cells - cells.mean()) / cells.std()
    count = values[:, 1:].size / 24  # the frames of a clip are not independent
    for axis in (1, 2):
        pairs = np.moveaxis(values, axis, 0)
        correlation = (pairs[1:] * pairs[:-1]).mean()
        assert abs(correlation) < 5 / np.sqrt(count)


def test_splits_show_the_motions_of_val_in_other_scenes():
    val = render_group('slide_x', 0, 'val', 0)[0].astype(float)
    for split in sorted(set(SPLITS) - {'train', 'val', *CORRUPTED}):
        other = render_group('slide_x', 0, split, 0)[0].astype(float)
        assert np.abs(other - val).mean() > 1, split
    train = render_group('slide_x', 0, 'train', 0)[0]
    assert np.abs(train - val).mean() > 10
    # The corrupted segment is the fourth of eight, and nothing else changes.
    for split in CORRUPTED:
        clip = render_group('slide_x', 0, split, 0)[0]
        differs = (clip != val).any(axis=(1, 2, 3))
        assert differs.nonzero()[0].tolist() == [9, 10, 11]


def test_periodic_noise_continues_beyond_its_borders():
    image = periodic_noise(np.random.default_rng(0), 96, cell=16, contrast=64)
    steps = np.abs(np.diff(np.concatenate([image, image[:1]]).astype(int), axis=0))
    assert steps[-1].max() <= steps[:-1].max()
    with pytest.raises(ValueError, match='multiple of cell=16, got 100'):
        periodic_noise(np.random.default_rng(0), 100, cell=16, contrast=64)


def test_written_files(tmp_path):
    summary = make_motion(tmp_path / 'out', 'stories-tiny', workers=1)
    assert summary['version'] == 4
    assert summary == json.loads((tmp_path / 'out' / 'motion.json').read_text())
    for split, count in PRESETS['stories-tiny'].splits.items():
        lines = (tmp_path / 'out' / f'{split}.txt').read_text().splitlines()
        assert len(lines) == count
        clips = []
        for line in lines[:4]:
            name, label = line.split()
            reader = decord.VideoReader(str(tmp_path / 'out' / 'videos' / name))
            clips.append(reader.get_batch(range(24)).asnumpy())
            assert int(label) == len(clips) - 1
        if split not in CORRUPTED:
            assert len({frozenset(Counter(map(bytes, c)).items()) for c in clips}) == 1
    text = (tmp_path / 'out' / 'train_scenes.txt').read_text()
    scenes = [line.split() for line in text.splitlines()]
    assert [name for name, _ in scenes] == [f'train/{i:05d}.avi' for i in range(16)]
    assert [int(scene) for _, scene in scenes] == [i // 4 for i in range(16)]
