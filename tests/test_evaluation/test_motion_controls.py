# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Features and the linear classifier of the motion controls."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from selfy_mmaction.evaluation.motion_controls.features import FEATURES, match_blocks
from selfy_mmaction.evaluation.motion_controls.linear import LinearClassifier
from selfy_mmaction.motion_benchmark import make_motion

TOOL = Path(__file__).parents[2] / 'tools' / 'motion_controls.py'


@pytest.mark.parametrize('shift', [(5, 0), (0, -7), (-16, 16), (0, 0)])
def test_blocks_are_found_where_they_moved(shift):
    rng = np.random.default_rng(0)
    before = rng.uniform(0, 255, (64, 64)).astype(np.float32)
    x, y = shift
    after = np.roll(before, (y, x), (0, 1))
    found = match_blocks(before, after)
    assert found.shape == (2, 8, 8)
    inner = found[:, 2:-2, 2:-2]
    np.testing.assert_array_equal(inner[0], x)
    np.testing.assert_array_equal(inner[1], y)


def test_blocks_without_texture_do_not_move():
    flat = np.full((16, 24), 90, np.float32)
    np.testing.assert_array_equal(match_blocks(flat, flat), np.zeros((2, 2, 3)))


@pytest.fixture(scope='module')
def frames():
    return np.random.default_rng(1).integers(0, 256, (8, 64, 64, 3)).astype(np.uint8)


@pytest.mark.parametrize('name', FEATURES)
def test_which_orders_a_feature_can_tell(name, frames):
    feature = FEATURES[name]
    blind = {'one frame', 'first frame', 'first and last frame', 'unordered frames'}
    # The first, the fourth and the last frame stay.
    order = [0, 2, 1, 3, 5, 4, 6, 7]
    assert np.array_equal(feature(frames), feature(frames[order])) == (name in blind)


def test_adjacent_pairs_are_unordered():
    # The same displacements in another order: right, down and down, right.
    base = np.random.default_rng(2).integers(0, 256, (64, 64, 3)).astype(np.uint8)

    def walk(*steps):
        frames = [base]
        for step in steps:
            frames.append(np.roll(frames[-1], step, (0, 1)))
        return np.stack(frames)

    right, down = (0, 4), (4, 0)
    first, second = walk(right, down), walk(down, right)
    inner = np.s_[:, :, 1:-1, 1:-1]
    pairs = [
        FEATURES['motion of unordered adjacent pairs'](f)[inner]
        for f in (first, second)
    ]
    np.testing.assert_array_equal(*pairs)
    oracle = [
        FEATURES['oracle: motion of ordered pairs'](np.concatenate([f, f]))
        for f in (first, second)
    ]
    assert not np.array_equal(*oracle)


def test_classifier_learns_what_is_linear_and_nothing_else():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat(100)
    features = torch.randn(300, 20, generator=generator)
    informative = features.clone()
    informative[:, :3] += 3 * torch.eye(3)[labels]
    train, test = slice(0, 200), slice(200, 300)
    for values, low, high in [(informative, 0.9, 1), (features, 0.15, 0.5)]:
        classifier = LinearClassifier(values[train], labels[train])
        accuracy = (classifier.predict(values[test]) == labels[test]).double().mean()
        assert low <= accuracy <= high


def test_constant_features():
    labels = torch.arange(2).repeat(20)
    classifier = LinearClassifier(torch.ones(40, 3), labels, partners=2)
    assert classifier.predict(torch.ones(4, 3)).unique().numel() == 1


def test_too_few_clips():
    with pytest.raises(ValueError, match='36 clips in 9 groups are too few'):
        LinearClassifier(torch.zeros(36, 2), torch.arange(36) % 4, partners=4)


def test_tool(tmp_path, run_script, capfd):
    make_motion(tmp_path / 'data', 'tiny', workers=1)
    out = tmp_path / 'controls.json'
    options = ['--features', 'one frame', '--workers', 1, '--out', out]
    run_script(TOOL, tmp_path / 'data', *options)
    written = json.loads(out.read_text())
    assert list(written) == ['one frame']
    assert list(written['one frame']) == ['val', 'val_flicker']
    assert (
        f'| one frame | {100 * written["one frame"]["val"]:.1f} |'
        in capfd.readouterr().out
    )


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['nowhere'], 'motion.json does not exist; generate'),
        (['nowhere', '--workers', '0'], '--workers must be at least 1, got 0'),
        (['nowhere', '--features', 'color'], "invalid choice: 'color'"),
        (['nowhere', '--out', 'no/where.json'], 'folder of no/where.json does not'),
    ],
)
def test_wrong_arguments(arguments, message, run_script, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_script(TOOL, *arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
