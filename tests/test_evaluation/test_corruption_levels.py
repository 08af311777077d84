# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from pathlib import Path

import pytest
from mmengine.config import Config

from selfy_mmaction.evaluation.corruption_levels import (
    CLEAN,
    Level,
    choose_levels,
    insert_transform,
    make_transform,
)
from selfy_mmaction.evaluation.robustness_figure import draw_curves, show_tables

ROOT = Path(__file__).parents[2] / 'configs'
LEAVES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in ROOT.rglob('*.py')
    if '_base_' not in path.parts
)


def test_default_levels():
    levels = choose_levels()
    assert levels[0] == CLEAN
    assert levels[1:] == [
        (corruption, level)
        for corruption in ('occlusion', 'motion_blur')
        for level in range(1, 7)
    ]


def test_transform_configs():
    assert make_transform(CLEAN, 3, 1) is None
    assert make_transform(Level('occlusion', 2), None, 1) == dict(
        type='OccludeFrame', level=2, frame=None
    )
    assert make_transform(Level('motion_blur', 6), 3, 1) == dict(
        type='MotionBlurFrame', level=6, frame=3, seed=1
    )


@pytest.mark.parametrize('name', LEAVES)
def test_transform_follows_the_last_crop_in_every_config(name):
    pipeline = Config.fromfile(ROOT / name).test_dataloader.dataset.pipeline
    before = [each['type'] for each in pipeline]
    changed = insert_transform(pipeline, dict(type='OccludeFrame'))
    after = [each['type'] for each in changed]
    place = after.index('OccludeFrame')
    assert after[place - 1] in ('CenterCrop', 'ThreeCrop')
    assert after[place + 1] == 'FormatShape'
    assert [*after[:place], *after[place + 1 :]] == before
    assert [each['type'] for each in pipeline] == before


@pytest.mark.parametrize(
    ('types', 'place'),
    [
        (('Decode', 'CenterCrop', 'Resize', 'Normalize', 'FormatShape'), 3),
        (('Decode', 'CenterCrop', 'Flip', 'Fuse', 'FormatShape', 'Pack'), 4),
    ],
)
def test_transform_follows_the_last_change_of_size(types, place):
    pipeline = [dict(type=name) for name in types]
    assert insert_transform(pipeline, dict(type='X')).index(dict(type='X')) == place


@pytest.mark.parametrize(
    ('types', 'message'),
    [
        (('Decode', 'FormatShape', 'Resize'), 'no crop or resize before FormatShape'),
        (('Decode', 'CenterCrop'), 'has no FormatShape: Decode, CenterCrop'),
    ],
)
def test_unsupported_pipelines_are_rejected(types, message):
    with pytest.raises(ValueError, match=message):
        insert_transform([dict(type=name) for name in types], dict(type='X'))


@pytest.fixture
def figures() -> dict:
    levels = choose_levels(levels=(2, 6))
    return {
        'tsm': dict(zip(levels, (40, 30, 20, 35, 25.04), strict=True)),
        'selfy': dict(zip(levels, (50, 49, 48, 47, 46), strict=True)),
    }


def test_tables(figures):
    lines = show_tables(figures, 'acc/top1').splitlines()
    assert lines == [
        'Occlusion: side of the square (px of a 224x224 input), acc/top1 in percent',
        '',
        '| model | clean | 80 | 224 |',
        '| --- | --- | --- | --- |',
        '| tsm | 40.0 | 30.0 | 20.0 |',
        '| selfy | 50.0 | 49.0 | 48.0 |',
        '',
        'Motion blur: radius, sigma (px of a 224x224 input), acc/top1 in percent',
        '',
        '| model | clean | (10, 8) | (30, 25) |',
        '| --- | --- | --- | --- |',
        '| tsm | 40.0 | 35.0 | 25.0 |',
        '| selfy | 50.0 | 47.0 | 46.0 |',
    ]


def test_one_corruption_has_one_table(figures):
    occlusion = {
        name: {level: row[level] for level in row if level.corruption != 'motion_blur'}
        for name, row in figures.items()
    }
    assert 'Motion blur' not in show_tables(occlusion, 'acc/top1')


def test_curves(figures, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        'matplotlib.figure.Figure.savefig',
        lambda figure, path, **_: drawn.append(figure),
    )
    draw_curves(tmp_path / 'curves.png', figures, 'acc/top1')
    (figure,) = drawn
    curves = [
        {line.get_label(): list(line.get_ydata()) for line in axes.lines}
        for axes in figure.axes
    ]
    assert curves == [
        dict(tsm=[40, 30, 20], selfy=[50, 49, 48]),
        dict(tsm=[40, 35, 25.04], selfy=[50, 47, 46]),
    ]
    ticks = [[t.get_text() for t in axes.get_xticklabels()] for axes in figure.axes]
    assert ticks == [['clean', '80', '224'], ['clean', '(10, 8)', '(30, 25)']]
