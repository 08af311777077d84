# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The benchmark of reading, on two clips."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from mmengine.logging import MMLogger

TOOL = Path(__file__).parents[2] / 'tools' / 'data' / 'reading_speed.py'


@pytest.fixture(scope='module')
def tool():
    return runpy.run_path(str(TOOL))


def test_every_reader_is_measured(tool, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'speeds.json'
    sizes = ['--clips', '2', '--frames', '10', '--repeats', '2', '--workers', '0']
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *sizes, '--out', str(out)])
    tool['main']()
    MMLogger._instance_dict.pop('reading_speed')  # its silence is not for other tests
    speeds = json.loads(out.read_text())['clips_per_s']
    assert {'Decord, num_threads=1', 'OpenCV', 'RawFrame'} <= set(speeds)
    assert all(len(values) == 2 and min(values) > 0 for values in speeds.values())
    printed = capsys.readouterr().out
    assert '2 clips of 10 frames, 240x427' in printed
    assert all(f'| {name} |' in printed for name in speeds)


def test_data_sets_differ_as_their_names_say(tool, tmp_path):
    tool['write_data'](tmp_path, 1, 9)
    for how in tool['readers']().values():
        dataset = tool['build'](tmp_path, **how)
        steps = dataset.pipeline.transforms
        if how['decoder'] == 'Decord':
            assert steps[0].num_threads == how['num_threads']
        assert dataset.on_unreadable == how.get('on_unreadable', 'fail')
        assert any(how['decoder'] in type(step).__name__ for step in steps)
        assert dataset[0]['inputs'].shape == (8, 3, 224, 224)


def test_ratios_are_to_the_same_round(tool):
    rows = tool['table']({tool['SHIPPED']: [10, 20], 'Other': [5, 40]}).splitlines()
    assert rows[2] == f'| {tool["SHIPPED"]} | 15.0 | 1.00 | 1.00 to 1.00 |'
    assert rows[3] == '| Other | 22.5 | 1.25 | 0.50 to 2.00 |'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--clips', '0'], '--clips must be at least 1, got 0'),
        (['--batch-size', '0'], '--batch-size must be at least 1, got 0'),
        (['--workers', '-1'], '--workers must be at least 0, got -1'),
        (['--out', 'nowhere/a.json'], 'the folder nowhere does not exist'),
    ],
)
def test_bad_options_are_named(tool, options, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *options])
    with pytest.raises(SystemExit, match='2'):
        tool['main']()
    assert message in capsys.readouterr().err
