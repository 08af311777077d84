# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The claims of the motion benchmark's data card hold for frames and files."""

import json
import os
import re
from collections import Counter
from dataclasses import replace
from itertools import product

import decord
import numpy as np
import pytest

from selfy_mmaction.motion_benchmark import (
    PRESETS,
    class_names,
    clip_label,
    generation,
    make_motion,
    render_clip,
)
from selfy_mmaction.motion_benchmark.pairs.patterns import (
    AXES,
    DISTANCES,
    TORUS_SIZE,
    displacements,
    partner_order,
)
from selfy_mmaction.motion_benchmark.pairs.rendering import SPLITS, draw_track


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    out = tmp_path_factory.mktemp('motion') / 'tiny'
    make_motion(out, 'tiny', seed=0, workers=1)
    return out


def decode(path):
    return decord.VideoReader(str(path)).get_batch(range(24)).asnumpy()


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


def annotations(folder, split):
    lines = (folder / f'{split}.txt').read_text().splitlines()
    return [(name, int(label)) for name, label in (line.split(' ') for line in lines)]


def views(positions, offsets):
    """Count the displacements of each frame at some temporal offsets.

    This is the information in a self-similarity tensor.
    """
    return Counter(
        tuple(
            positions[t + offset] - positions[t]
            if 0 <= t + offset < len(positions)
            else None
            for offset in offsets
        )
        for t in range(len(positions))
    )


ALL_DISTANCES = [
    (pattern, distance)
    for pattern, (low, high) in DISTANCES.items()
    for distance in range(low, high + 1)
]


@pytest.mark.parametrize('distance', [36, 56])
def test_go_has_constant_velocity(distance):
    path = displacements('go', distance)
    assert (path[0], path[-1]) == (0, distance)
    # Rounded to whole pixels, so steps differ by at most one.
    assert np.ptp(np.diff(path)) <= 1


@pytest.mark.parametrize('distance', [18, 28])
def test_back_returns_on_the_same_path(distance):
    path = displacements('back', distance)
    assert (path[0], path[11], path[12], path[23]) == (0, distance, distance, 0)
    np.testing.assert_array_equal(path, path[::-1])
    assert np.all(np.diff(path[:12]) > 0)


@pytest.mark.parametrize('distance', [9, 14])
def test_pback_pauses_for_two_segments(distance):
    segments = displacements('pback', distance).reshape(8, 3)
    at_rest = [True, True, False, True, True, False, True, True]
    np.testing.assert_array_equal((segments == 0).all(axis=1), at_rest)
    assert segments[2].min() >= distance / 2
    assert segments[2].max() == distance
    np.testing.assert_array_equal(segments[5], -segments[2])


@pytest.mark.parametrize(('pattern', 'distance'), ALL_DISTANCES)
def test_partner_is_the_negated_pattern(pattern, distance):
    path = displacements(pattern, distance)
    order = partner_order(pattern)
    assert sorted(order) == list(range(24))
    np.testing.assert_array_equal(path[order] - path[order[0]], -path)


@pytest.mark.parametrize('sampled', [0, 1, 2])
@pytest.mark.parametrize(('pattern', 'distance'), ALL_DISTANCES)
def test_offsets_that_distinguish_the_signs(pattern, distance, sampled):
    # Sample one of the 3 frames of each segment. The other sign is sampled at the
    # mirrored frames: the same for the middle frame, equally likely for the others.
    segments = displacements(pattern, distance).reshape(8, 3)
    path, other = segments[:, sampled], -segments[:, 2 - sampled]
    distinguished = [
        views(path, offsets) != views(other, offsets)
        for offsets in [(0,), (1,), (-1, 0, 1), (-2, -1, 0, 1, 2)]
    ]
    assert (
        distinguished
        == {
            'go': [False, True, True, True],
            'back': [False, False, True, True],
            'pback': [False, False, False, True],
        }[pattern]
    )


def test_unknown_pattern():
    with pytest.raises(ValueError, match="'hop'"):
        displacements('hop', 10)


def test_labels_are_balanced():
    assert len(class_names('small')) == 12
    assert class_names('tiny') == ('go_right', 'go_left', 'go_down', 'go_up')
    for name, preset in PRESETS.items():
        for count in preset.splits.values():
            labels = Counter(clip_label(name, index) for index in range(count))
            assert set(labels) == set(range(len(class_names(name))))
            assert len(set(labels.values())) == 1


@pytest.mark.parametrize('pair', range(6))
@pytest.mark.parametrize('split', SPLITS)
def test_rendered_partner_has_the_same_frames_reordered(split, pair):
    first = render_clip('small', split, 2 * pair)
    second = render_clip('small', split, 2 * pair + 1)
    pattern = class_names('small')[2 * pair].split('_')[0]
    np.testing.assert_array_equal(second, first[partner_order(pattern)])
    assert not np.array_equal(first, second)
    # A function of the unordered frames depends only on these multisets, so it is the
    # same for both clips and right for at most one of them.
    assert Counter(map(bytes, first)) == Counter(map(bytes, second))
    assert clip_label('small', 2 * pair) != clip_label('small', 2 * pair + 1)


def test_decoded_partner_has_the_same_frames_reordered(tmp_path):
    for pair in range(6):
        pattern = class_names('small')[2 * pair].split('_')[0]
        for split in ('train', 'val_flicker'):
            decoded = []
            for index in (2 * pair, 2 * pair + 1):
                path = tmp_path / f'{split}{index}.avi'
                generation._write_clip(path, render_clip('small', split, index))
                decoded.append(decode(path))
            first, second = decoded
            np.testing.assert_array_equal(second, first[partner_order(pattern)])


@pytest.mark.parametrize('label', range(4))
def test_layer_moves_in_the_direction_of_the_class_name(label):
    # Match frames 0 and 6 under shifts in four directions. Only changed pixels count:
    # the others are background.
    directions = {'right': (1, 0), 'left': (-1, 0), 'down': (0, 1), 'up': (0, -1)}
    inner = (slice(20, 48), slice(20, 48))
    errors = dict.fromkeys(directions, 0.0)
    for index in range(label, 16, 4):
        first, later = render_clip('tiny', 'val', index)[[0, 6]].astype(float)
        changed = np.abs(later - first)[inner] > 20
        for direction, (x, y) in directions.items():
            errors[direction] += min(
                np.abs(np.roll(first, (y * step, x * step), axis=(0, 1)) - later)[
                    inner
                ][changed].mean()
                for step in range(8, 18)
            )
    assert f'go_{min(errors, key=errors.get)}' == class_names('tiny')[label]


@pytest.mark.parametrize('frame', [0, 11, 23])
def test_positions_of_every_class_are_uniform(frame):
    # Chi-square with 11 degrees of freedom: P(above 48) is 1.5e-6, and 1e-4 for any of
    # the 72 tests here. The seeds are fixed.
    draws, bins = 960, 12
    for pattern, axis in product(DISTANCES, AXES):
        tracks = np.stack(
            [draw_track(seed, 'train', 0, pattern, axis) for seed in range(draws)]
        )
        for sign in (np.arange(24), partner_order(pattern)):
            for coordinate in tracks[:, sign[frame]].T:
                counts = np.bincount(coordinate * bins // TORUS_SIZE, minlength=bins)
                expected = draws / bins
                assert ((counts - expected) ** 2 / expected).sum() < 48


def test_files_decode_to_the_documented_shape(tiny):
    for split in SPLITS:
        frames = decode(tiny / 'videos' / split / '00003.avi')
        assert frames.shape == (24, 68, 68, 3)
        assert frames.dtype == np.uint8
        rendered = render_clip('tiny', split, 3).astype(float)
        # Lossy, but the same image with the same order of channels.
        assert np.corrcoef(frames.ravel(), rendered.ravel())[0, 1] > 0.9


def test_lists_have_the_format_of_video_dataset(tiny):
    for split in SPLITS:
        rows = annotations(tiny, split)
        assert len(rows) == PRESETS['tiny'].num_clips(split)
        assert all((tiny / 'videos' / name).is_file() for name, _ in rows)
        assert Counter(label for _, label in rows) == dict.fromkeys(
            range(4), len(rows) // 4
        )
    assert (tiny / 'classes.txt').read_text().split() == list(class_names('tiny'))


def test_flicker_split_is_val_with_photometric_changes(tiny):
    plain, flicker = annotations(tiny, 'val'), annotations(tiny, 'val_flicker')
    assert [label for _, label in plain] == [label for _, label in flicker]
    steady, changing = [], []
    for (name, _), (shifted, _) in zip(plain, flicker, strict=True):
        assert name.split('/')[1] == shifted.split('/')[1]
        before = decode(tiny / 'videos' / name).astype(float)
        after = decode(tiny / 'videos' / shifted).astype(float)
        steady.append(before.std(axis=(1, 2, 3)))
        changing.append(after.std(axis=(1, 2, 3)))
        # The scene is the same in every frame.
        for a, b in zip(before, after, strict=True):
            assert np.corrcoef(a[..., 1].ravel(), b[..., 1].ravel())[0, 1] > 0.5
    gain = np.array(changing) / np.array(steady)
    assert gain.min() < 0.6
    assert gain.max() > 1.3
    assert np.array(steady).std(axis=1).max() < 10


def test_splits_share_no_scene():
    def scenes(split, seed=0):
        return {bytes(render_clip('small', split, 2 * k, seed)[0]) for k in range(30)}

    train, val = scenes('train'), scenes('val')
    assert len(train) == len(val) == 30
    assert not train & val
    assert not train & scenes('train', seed=1)


def test_files_are_identical_for_any_number_of_workers(tiny, tmp_path):
    # The fixture was written without worker processes.
    make_motion(tmp_path / 'again', 'tiny', seed=0, workers=2)
    assert contents(tmp_path / 'again') == contents(tiny)


def test_files_depend_on_the_seed(tiny, tmp_path):
    summary = make_motion(tmp_path / 'other', 'tiny', seed=1, workers=1)
    before = json.loads((tiny / 'motion.json').read_text())
    assert summary['fingerprint'] != before['fingerprint']
    ours, theirs = contents(tmp_path / 'other'), contents(tiny)
    assert all(ours[name] != theirs[name] for name in ours if name.suffix == '.avi')


def test_interrupted_run_is_resumed(tmp_path, monkeypatch):
    out = tmp_path / 'out'
    write = generation._write_clip
    written = []

    def stop_after_ten(path, frames):
        if len(written) == 10:
            path.with_name(f'{path.stem}.partial.avi').write_bytes(b'half')
            raise KeyboardInterrupt
        written.append(path)
        write(path, frames)

    monkeypatch.setattr(generation, '_write_clip', stop_after_ten)
    with pytest.raises(KeyboardInterrupt):
        make_motion(out, 'tiny', workers=1)
    monkeypatch.undo()
    kept = {path: path.stat().st_mtime_ns for path in written}
    assert not (out / 'train.txt').exists()

    resumed = make_motion(out, 'tiny', workers=1)
    assert {path: path.stat().st_mtime_ns for path in written} == kept
    whole = make_motion(tmp_path / 'whole', 'tiny', workers=1)
    assert resumed == whole
    assert contents(out) == contents(tmp_path / 'whole')


def test_run_killed_before_its_first_file_is_resumed(tiny, tmp_path):
    (tmp_path / 'motion.json.partial').write_text('{"vers')
    make_motion(tmp_path, 'tiny', workers=1)
    assert contents(tmp_path) == contents(tiny)


def test_run_killed_anywhere_is_resumed(tiny, tmp_path, monkeypatch):
    """Kill the run before different calls of os.replace."""
    rename, renames_left = os.replace, iter(())

    def killed_before_a_rename(path, target):
        if next(renames_left, None) is None:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(os, 'replace', killed_before_a_rename)
    for number in (0, 1, 7, 40, 3):
        renames_left = iter(range(number))
        with pytest.raises(KeyboardInterrupt):
            make_motion(tmp_path, 'tiny', workers=1)
    monkeypatch.undo()
    make_motion(tmp_path, 'tiny', workers=1)
    assert contents(tmp_path) == contents(tiny)


def test_truncated_clip_is_written_again(tiny):
    before = contents(tiny)
    clip = tiny / 'videos' / 'val' / '00003.avi'
    for kept in (0, 5, 1000):
        clip.write_bytes(clip.read_bytes()[:kept])
        make_motion(tiny, 'tiny', workers=1)
        assert contents(tiny) == before


@pytest.mark.parametrize(
    'text', ['', '{', '[]', 'null', '3', '[' * 100_000, '{"a": "\xe4"}']
)
def test_damaged_record(text, tmp_path):
    record = tmp_path / 'motion.json'
    record.write_bytes(text.encode('latin-1'))
    with pytest.raises(ValueError, match=re.escape(str(record)) + ' is damaged: .*del'):
        make_motion(tmp_path, 'tiny', workers=1)
    assert record.read_bytes() == text.encode('latin-1')


def test_record_with_only_the_fingerprint(tiny):
    record = tiny / 'motion.json'
    before = record.read_bytes()
    whole = json.loads(before)
    kept = ('version', 'preset', 'seed', 'fingerprint')
    record.write_text(json.dumps({key: whole[key] for key in kept}))
    assert make_motion(tiny, 'tiny', workers=1) == {**whole, 'libraries': None}
    record.write_bytes(before)


def test_deleted_files_are_written_again(tiny):
    before = contents(tiny)
    times = {name: (tiny / name).stat().st_mtime_ns for name in before}
    deleted = {'videos/train/00004.avi', 'videos/val_flicker/00009.avi', 'val.txt'}
    for name in deleted:
        (tiny / name).unlink()
    make_motion(tiny, 'tiny', workers=1)
    assert contents(tiny) == before
    for name, time in times.items():
        changed = (tiny / name).stat().st_mtime_ns != time
        assert changed == (str(name) in deleted), name


def test_changed_file_is_noticed(tmp_path):
    make_motion(tmp_path / 'out', 'tiny', workers=1)
    (tmp_path / 'out' / 'train.txt').write_text('train/00000.avi 3\n')
    with pytest.raises(RuntimeError, match='a file was changed'):
        make_motion(tmp_path / 'out', 'tiny', workers=1)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'preset': 'small'}, r"preset 'tiny' with seed 0 .* preset 'small' with"),
        ({'seed': 7}, r"'tiny' with seed 0 .* 'tiny' with seed 7 "),
    ],
)
def test_folder_with_other_data_is_rejected(tiny, arguments, message):
    before = contents(tiny)
    with pytest.raises(FileExistsError, match=message):
        make_motion(tiny, **{'preset': 'tiny', 'workers': 1, **arguments})
    assert contents(tiny) == before


def test_folder_of_another_version_is_rejected(tiny, monkeypatch):
    monkeypatch.setitem(PRESETS, 'tiny', replace(PRESETS['tiny'], version=999))
    with pytest.raises(FileExistsError, match='version 1, .* version 999 was'):
        make_motion(tiny, 'tiny', workers=1)


def test_foreign_folder_is_rejected(tmp_path):
    (tmp_path / 'notes.txt').write_text('mine')
    with pytest.raises(FileExistsError, match='not empty'):
        make_motion(tmp_path, 'tiny', workers=1)
    with pytest.raises(FileExistsError, match='not a folder'):
        make_motion(tmp_path / 'notes.txt', 'tiny', workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']


def test_folder_that_cannot_be_created(tmp_path):
    (tmp_path / 'file').touch()
    out = tmp_path / 'file' / 'out'
    with pytest.raises(OSError, match=f'cannot write to {re.escape(str(out))}'):
        make_motion(out, 'tiny', workers=1)


@pytest.mark.parametrize(
    ('arguments', 'value'),
    [
        ({'preset': 'huge'}, "'huge'"),
        ({'seed': -1}, '-1'),
        ({'seed': 0.5}, '0.5'),
        ({'workers': 0}, 'got 0'),
    ],
)
def test_invalid_arguments_fail_before_writing(tmp_path, arguments, value):
    with pytest.raises(ValueError, match=value):
        make_motion(tmp_path / 'out', **{'preset': 'tiny', **arguments})
    assert not (tmp_path / 'out').exists()


def test_clip_that_does_not_exist():
    with pytest.raises(ValueError, match="'test'"):
        render_clip('tiny', 'test', 0)
    with pytest.raises(IndexError, match='clip 16'):
        render_clip('tiny', 'val', 16)
