# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import csv
import json

import numpy as np
import pytest
from PIL import Image

from selfy_mmaction.inference import ClassProbability, Prediction
from selfy_mmaction.inference.results import ResultsFile, show_prediction, show_time
from selfy_mmaction.inference.timeline import draw_timeline


def prediction(video='ü, b.mp4', start=0.0, end=1.5, values=(0.25, 0.75), **fields):
    values = np.array(values)
    top = tuple(
        ClassProbability(int(i), f'名 "{i}"', float(values[i]))
        for i in np.argsort(-values)
    )
    return Prediction(video, start, end, top, values, 0.5, 0.25, **fields)


TOP = [
    dict(label=1, name='名 "1"', probability=0.75),
    dict(label=0, name='名 "0"', probability=0.25),
]
FIELDS = dict(
    video='ü, b.mp4',
    start=0.0,
    end=1.5,
    decode_seconds=0.5,
    model_seconds=0.25,
    note='',
)
ERROR = dict(video='c.mp4', error='it is empty')


def write(path):
    with ResultsFile(path) as file:
        file.add(prediction())
        file.add_error('c.mp4', 'it is empty')
    return path.read_text(encoding='utf-8')


def test_json(tmp_path):
    assert json.loads(write(tmp_path / 'a.json')) == dict(
        predictions=[dict(FIELDS, top=TOP)], errors=[ERROR]
    )


def test_json_lines(tmp_path):
    lines = write(tmp_path / 'a.JSONL').splitlines()
    assert [json.loads(line) for line in lines] == [dict(FIELDS, top=TOP), ERROR]


def test_csv(tmp_path):
    write(tmp_path / 'a.csv')
    with open(tmp_path / 'a.csv', encoding='utf-8', newline='') as file:
        rows = [*csv.DictReader(file)]
    assert [{key: row[key] for key in row if row[key]} for row in rows] == [
        *(
            {
                key: str(value)
                for key, value in dict(FIELDS, rank=rank, **each).items()
                if value != ''
            }
            for rank, each in enumerate(TOP, start=1)
        ),
        ERROR,
    ]


def test_file_is_whole_at_any_time(tmp_path, monkeypatch):
    path = tmp_path / 'a.json'

    def interrupted():
        with ResultsFile(path) as file:
            assert json.loads(path.read_text())['predictions'] == []
            file.add(prediction())
            monkeypatch.setattr('time.monotonic', lambda: float('inf'))
            file.add(prediction())
            assert len(json.loads(path.read_text())['predictions']) == 2
            monkeypatch.undo()
            file.add(prediction())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(json.loads(path.read_text())['predictions']) == 3
    assert [each.name for each in tmp_path.iterdir()] == ['a.json']


def test_earlier_results_are_kept_until_there_are_new_ones(tmp_path):
    path = tmp_path / 'a.json'
    earlier = write(path)

    def interrupted():
        with ResultsFile(path):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text(encoding='utf-8') == earlier
    with ResultsFile(path) as file:
        file.add(prediction('new.mp4'))
    assert json.loads(path.read_text())['predictions'][0]['video'] == 'new.mp4'


def test_paths_that_cannot_be_written(tmp_path):
    for name in ('a.txt', 'a', '.'):
        with pytest.raises(ValueError, match=r'ends in \.csv, \.json, \.jsonl'):
            ResultsFile(tmp_path / name)
    with pytest.raises(FileNotFoundError, match='the folder .*none does not exist'):
        ResultsFile(tmp_path / 'none' / 'a.csv')


def test_text():
    assert show_prediction(prediction(note='3 frames')).splitlines() == [
        'ü, b.mp4  0.00 to 1.50 s  (decoding 0.500 s, network 0.250 s)  note: 3 frames',
        '    75.00%  名 "1"',
        '    25.00%  名 "0"',
    ]
    assert str(prediction()) == 'ü, b.mp4 0.00-1.50 s: 名 "1" 0.750, 名 "0" 0.250'
    assert show_time(0) == '0:00:00.00'
    assert show_time(3725.456) == '1:02:05.46'
    assert show_time(59.999) == '0:01:00.00'


@pytest.mark.filterwarnings('error')
def test_timeline(tmp_path):
    """The strip has the color of the most probable class, and gray for the 8th."""
    rng = np.random.default_rng(0)
    names = ['$x_1$', '_hidden', 'long ' * 30, *'defghijk']
    windows = []
    for index in range(40):
        values = rng.random(11) * 0.05
        values[index // 5] = 1
        windows.append(prediction('a$b.mp4', index, index + 1, values / values.sum()))
    path = tmp_path / 'a.png'
    draw_timeline(path, windows, names)
    image = np.asarray(Image.open(path).convert('RGB')).astype(int)
    # The strip is the lowest row of saturated colors.
    colors = [tuple(pixel) for row in image for pixel in row]
    tab10 = [(31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40)]
    counts = {color: colors.count(color) for color in (*tab10, (211, 211, 211))}
    assert min(counts.values()) > 500, counts


def test_timeline_of_one_window(tmp_path):
    draw_timeline(tmp_path / 'a.png', [prediction()], ['a', 'b'])
    assert (tmp_path / 'a.png').read_bytes().startswith(b'\x89PNG')
