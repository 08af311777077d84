# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Table, curves and figure of the demo."""

import json

import cv2
import numpy as np
import pytest

from selfy_mmaction.evaluation.dumps import Dump
from selfy_mmaction.evaluation.motion_figure import draw, read_curves, show_table

NAMES = ('go_right', 'go_left', 'back_right', 'back_left')


def dump(labels: list[int], predicted: list[int]) -> Dump:
    scores = np.eye(len(NAMES))[predicted]
    return Dump('val.pkl', scores, np.array(labels), [None] * len(labels))


def test_table():
    val = dump([0, 1, 2, 3], [0, 0, 2, 3])
    flicker = dump([0, 1, 2, 3], [1, 0, 1, 3])
    results = {'TSN-R18': dict(val=val, val_flicker=flicker)}
    table = show_table(results, NAMES).splitlines()
    assert table[0] == '| model | accuracy | under flicker | go | back |'
    assert table[2] == '| TSN-R18 | 75.0 | 25.0 | 50.0 | 100.0 |'
    assert table[3] == '| chance | 25.0 | 25.0 | 25.0 | 25.0 |'


@pytest.mark.parametrize('cut', ['', '{"acc/top1": 0.', '\0\0', '7', '{"top1_acc": 1}'])
def test_curves_of_a_killed_and_resumed_run(cut, tmp_path):
    runs = {
        '1': [dict(iter=20, top1_acc=0.1), {'acc/top1': 0.2, 'step': 1}],
        '2': [dict(iter=40, top1_acc=0.3), {'acc/top1': 0.4, 'step': 2}],
    }
    for name, records in runs.items():
        folder = tmp_path / name / 'vis_data'
        folder.mkdir(parents=True)
        lines = '\n'.join(json.dumps(record) for record in records)
        (folder / 'scalars.json').write_text(lines + f'\n{cut}')
    curves = read_curves(tmp_path)
    assert curves == dict(train={20: 0.1, 40: 0.3}, val={1: 0.2, 2: 0.4})


@pytest.mark.parametrize('logged', [True, False])
def test_figure_of_two_models(logged, motion_tiny, tmp_path):
    clips = (motion_tiny / 'val.txt').read_text().splitlines()
    labels = [int(clip.split()[1]) for clip in clips]
    models = ('TSN-R18', 'SELFYNet-TSN-R18')
    curve = dict(train={20: 0.1, 40: 0.3}, val={1: 0.2, 2: 0.4})
    curves = {model: curve if logged else dict(train={}, val={}) for model in models}
    results = {model: dict(val=dump(labels, labels)) for model in models}
    path = tmp_path / 'new' / 'demo.png'
    draw(
        path, curves, results, motion_tiny, ('go_right', 'go_left', 'go_down', 'go_up')
    )
    picture = cv2.imread(str(path))
    colors = set(map(tuple, picture.reshape(-1, 3)[:, ::-1].tolist()))
    assert {(0x8C, 0x8C, 0x8C), (0xC4, 0x4E, 0x52)} <= colors
