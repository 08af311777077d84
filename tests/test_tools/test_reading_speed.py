# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""tools/data/reading_speed.py on two clips."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from mmengine.logging import MMLogger

TOOL = Path(__file__).parents[2] / 'tools' / 'data' / 'reading_speed.py'


@pytest.fixture(scope='module')
def tool():
    return runpy.run_path(str(TOOL))


@pytest.mark.slow
def test_every_reader_is_measured(tool, monkeypatch, capsys):
    sizes = ['--clips', '2', '--frames', '10', '--repeats', '2', '--workers', '0']
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *sizes])
    tool['main']()
    MMLogger._instance_dict.pop('reading_speed')  # undo its log level
    printed = capsys.readouterr().out
    assert '2 clips of 10 frames, 240x427' in printed
    rows = re.findall(r'^\| (.+?) \| ([\d.]+) \|', printed, re.MULTILINE)
    names = [name for name, _ in rows if name != 'PyAV']  # if installed
    assert names == [
        *(f'Decord, num_threads={number}' for number in (1, 2, 4, 0)),
        "Decord, num_threads=1, on_unreadable='skip'",
        'OpenCV',
        'RawFrame',
    ]
    assert all(float(speed) > 0 for _, speed in rows)


@pytest.mark.slow
def test_datasets_match_their_names(tool, tmp_path):
    tool['write_data'](tmp_path, 1, 9)
    for how in tool['READERS']:
        dataset = tool['build'](tmp_path, **how)
        steps = dataset.pipeline.transforms
        assert getattr(steps[0], 'num_threads', None) == how.get('num_threads')
        assert dataset.on_unreadable == how.get('on_unreadable', 'fail')
        assert any(how['decoder'] in type(step).__name__ for step in steps)
        assert dataset[0]['inputs'].shape == (8, 3, 224, 224)


def test_ratios_are_taken_per_round(tool):
    rows = tool['table']({'Shipped': [10, 20], 'Other': [5, 40]}).splitlines()
    assert rows[2] == '| Shipped | 15.0 | 1.00 | 1.00 to 1.00 |'
    assert rows[3] == '| Other | 22.5 | 1.25 | 0.50 to 2.00 |'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--clips', '0'], '--clips must be at least 1, got 0'),
        (['--batch-size', '0'], '--batch-size must be at least 1, got 0'),
        (['--workers', '-1'], '--workers must be at least 0, got -1'),
    ],
)
def test_invalid_options(tool, options, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *options])
    with pytest.raises(SystemExit, match='2'):
        tool['main']()
    assert message in capsys.readouterr().err
