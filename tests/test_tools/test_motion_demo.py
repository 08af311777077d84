# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The parts of the demo that are not mmaction2's tools."""

import json
import runpy
from pathlib import Path

import pytest
import torch

TOOL = Path(__file__).parents[2] / 'tools' / 'motion_demo.py'
NAMES = ('go_right', 'go_left', 'back_right', 'back_left')


@pytest.fixture(scope='module')
def demo() -> dict:
    return runpy.run_path(str(TOOL))


def result(label: int, predicted: int) -> dict:
    scores = torch.zeros(len(NAMES))
    scores[predicted] = 1
    return dict(gt_label=torch.tensor([label]), pred_score=scores)


def test_table(demo):
    val = [result(0, 0), result(1, 0), result(2, 2), result(3, 3)]
    flicker = [result(0, 1), result(1, 0), result(2, 1), result(3, 3)]
    results = {'TSN-R18': dict(val=val, val_flicker=flicker)}
    table = demo['show_table'](results, NAMES).splitlines()
    assert table[0] == '| model | accuracy | under flicker | go | back |'
    assert table[2] == '| TSN-R18 | 75.0 | 25.0 | 50.0 | 100.0 |'
    assert table[3] == '| chance | 25.0 | 25.0 | 25.0 | 25.0 |'


def test_curves_of_a_run_that_was_resumed(demo, tmp_path):
    runs = {
        '1': [dict(iter=20, top1_acc=0.1), {'acc/top1': 0.2, 'step': 1}],
        '2': [dict(iter=40, top1_acc=0.3), {'acc/top1': 0.4, 'step': 2}],
    }
    for name, records in runs.items():
        folder = tmp_path / name / 'vis_data'
        folder.mkdir(parents=True)
        lines = '\n'.join(json.dumps(record) for record in records)
        (folder / 'scalars.json').write_text(lines)
    curves = demo['read_curves'](tmp_path)
    assert curves == dict(train={20: 0.1, 40: 0.3}, val={1: 0.2, 2: 0.4})


def test_only_a_complete_last_checkpoint_is_the_end(demo, tmp_path):
    finished = demo['finished_checkpoint']
    assert finished(tmp_path, 6) is None
    (tmp_path / 'epoch_6.pth').touch()  # cut off while it was written
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_5.pth'))
    assert finished(tmp_path, 6) is None
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_6.pth'))
    assert finished(tmp_path, 6) == tmp_path / 'epoch_6.pth'
