# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""tools/efficiency.py on tiny networks."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch

from selfy_mmaction.evaluation.efficiency import measure as measuring

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'efficiency.py'
PLAIN, SELFY = (
    ROOT / 'configs' / 'motion' / f'{name}-slim_1xb12-1x1x8-6e_motion-rgb.py'
    for name in ('tsn-r18', 'selfy-tsn-r18')
)
QUICK = ('--device', 'cpu', '--batch-size', 1, '--repeats', 2, '--shape', 32)


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def wrong(tmp_path) -> Path:
    """A config whose network cannot be built."""
    path = tmp_path / 'wröng name.py'
    path.write_text(f'_base_ = {str(PLAIN)!r}\nmodel = dict(backbone=dict(depth=19))\n')
    return path


def test_one_of_two_cannot_be_built(run, capsys, wrong, tmp_path):
    out = tmp_path / 'new' / 'out.json'
    with pytest.raises(SystemExit, match='^1$'):
        run(wrong, PLAIN, *QUICK, '--threads', 1, '--out', out)
    captured = capsys.readouterr()
    assert '1 of 2 networks failed' in captured.err
    assert '[2/2]' in captured.err
    assert '| wröng name |' in captured.out
    content = json.loads(out.read_text(encoding='utf-8'))
    assert content['settings']['threads'] == 1
    failed, measured = content['rows']
    assert 'building: ' in failed['error']
    assert '19' in failed['error']
    assert measured['error'] == ''
    assert measured['latency_ms_median'] > 0
    assert measured['shape'] == '8x3x32x32'


def test_sweep(run, tmp_path):
    out = tmp_path / 'out.csv'
    sweep = ('offsets=(0,1) (-1,0,1)', 'window=3 5')
    output = run(SELFY, '--sweep', *sweep, *QUICK, '--measure', '--out', out)
    with out.open(encoding='utf-8', newline='') as file:
        rows = [*csv.DictReader(file)]
    options = [(row['option_offsets'], row['option_window']) for row in rows]
    assert options == [
        ('(0, 1)', '3'),
        ('(0, 1)', '5'),
        ('(-1, 0, 1)', '3'),
        ('(-1, 0, 1)', '5'),
    ]
    counts = [int(row['multiply_adds']) for row in rows]
    assert counts[0] < counts[1] < counts[3]
    assert counts[0] < counts[2] < counts[3]
    assert '| offsets=(-1,0,1) window=5 | 8x3x32x32 |' in output


@pytest.mark.slow
def test_table_of_the_paper_with_a_figure(run, tmp_path):
    figure = tmp_path / 'figure.png'
    args = ('--shape', 32, '--measure', '--device', 'cpu', '--figure', figure)
    output = run('--table', 'table6_complementarity', *args)
    assert figure.read_bytes().startswith(b'\x89PNG')
    assert 'Top 1, Something-Something V1, paper (%)' in output
    assert len(output.splitlines()) == 2 + 7 + 3  # head, rows, note, files


def test_config_by_name_with_options(run):
    args = ('--cfg-options', 'model.backbone.depth=34', '--measure', *QUICK)
    name = f'selfy_mmaction::motion/{PLAIN.name}'
    row = run(name, *args).splitlines()[2]
    assert row != run(name, '--measure', *QUICK).splitlines()[2]


def test_interrupted(run, monkeypatch, capsys, tmp_path):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(measuring, '_measure_times', stop)
    out = tmp_path / 'out.json'
    with pytest.raises(SystemExit, match='^130$'):
        run(PLAIN, *QUICK, '--out', out)
    captured = capsys.readouterr()
    assert 'measured so far' in captured.err
    assert f'| {PLAIN.stem} |' in captured.out
    (row,) = json.loads(out.read_text())['rows']
    assert row['training_memory_bytes'] > 0
    assert row['latency_ms_median'] is None


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ((), 'give either configs or --table'),
        ((PLAIN, '--table', 'x'), 'give either configs or --table'),
        (('--table', 'sup3g'), "no table 'sup3g'; choose .*sup3g_efficiency"),
        (('none.py',), "config 'none.py'"),
        ((PLAIN, SELFY, '--sweep', 'window=3'), '--sweep needs exactly one config'),
        ((SELFY, '--sweep', 'windw=3'), r"no argument 'windw'.*'window'"),
        ((SELFY, '--sweep', 'window=3 4'), 'window=4: .*odd'),
        ((SELFY, '--sweep', 'window'), 'must be NAME='),
        ((PLAIN, '--cfg-options', 'a'), '--cfg-options must be KEY=VALUE'),
        ((PLAIN, '--cfg-options', 'model.bckbone.depth=1'), "no 'bckbone'; .*backbone"),
        ((PLAIN, '--batch-size', 0), '--batch-size 0 must be 1 or more'),
        ((PLAIN, '--repeats', 1), '--repeats 1 must be 2 or more'),
        ((PLAIN, '--threads', 4096), '--threads 4096: only'),
        ((PLAIN, '--shape', 1, 2, 3), '--shape 1 2 3 must be'),
        ((PLAIN, '--shape', 0), '--shape 0 must be'),
        ((PLAIN, '--device', 'cudda'), "device 'cudda' cannot be used"),
        ((PLAIN, '--dtype', 'float64'), 'invalid choice'),
        ((PLAIN, '--out', 'a.txt'), 'a.txt must end in .csv or .json'),
        ((PLAIN, '--figure', 'a.jpg'), 'a.jpg must end in .png'),
        ((PLAIN, '--figure', 'a.png'), 'no metafile reports'),
        ((SELFY, '--sweep', 'window=3', '--figure', 'a.png'), 'do not have'),
        ((PLAIN, '--wieghts', 1), '--wieghts'),
    ],
)
def test_wrong_commands(refused, monkeypatch, args, message):
    def measure(*args):
        pytest.fail('long work before the error')

    monkeypatch.setattr(measuring, '_measure_costs', measure)
    error = refused(*args)
    assert re.search(message, error), error
