# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""tools/predict.py with an untrained network."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config

from selfy_mmaction.inference import Predictor

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'predict.py'
CONFIG = 'selfy_mmaction::motion/selfy-tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'
NAMES = tuple('abcdefghijkl')


@pytest.fixture(scope='module')
def network(tmp_path_factory) -> list[str]:
    """Options that choose a network."""
    path = tmp_path_factory.mktemp('network') / 'network.pth'
    config = ROOT / CONFIG.replace('selfy_mmaction::', 'configs/')
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    meta = dict(dataset_meta=dict(classes=NAMES))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return ['--config', CONFIG, '--checkpoint', str(path), '--device', 'cpu']


@pytest.fixture(scope='module')
def videos(tmp_path_factory) -> Path:
    """A folder with two videos, one of 5 s and one of 1 s, and a broken one."""
    folder = tmp_path_factory.mktemp('videos')
    rng = np.random.default_rng(0)
    for name, length in (('a long.AVI', 50), ('c/short.avi', 10)):
        (folder / name).parent.mkdir(exist_ok=True)
        writer = cv2.VideoWriter(
            str(folder / name), cv2.VideoWriter_fourcc(*'MJPG'), 10, (80, 72)
        )
        for _ in range(length):
            writer.write(rng.integers(0, 255, (72, 80, 3), np.uint8))
        writer.release()
    (folder / 'b broken.mp4').write_bytes(b'no video' * 100)
    return folder


def test_folder_with_a_broken_video(run, capsys, network, videos, tmp_path):
    out = tmp_path / 'out.json'
    with pytest.raises(SystemExit, match='^1$'):
        run(videos, *network, '--top-k', 2, '--out', out)
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].startswith(f'[1/3] {videos / "a long.AVI"}  0.00 to 5.00 s')
    assert lines[3].startswith(f'[3/3] {videos / "c" / "short.avi"}  0.00 to 1.00 s')
    assert lines[-1] == f'{out} written'
    assert f'[2/3] error: {videos / "b broken.mp4"} cannot be read' in printed.err
    assert '1 of 3 videos could not be read' in printed.err
    content = json.loads(out.read_text())
    assert [Path(each['video']).name for each in content['predictions']] == [
        *('a long.AVI', 'short.avi')
    ]
    assert [Path(each['video']).name for each in content['errors']] == ['b broken.mp4']
    for line, best in zip(lines[1:3], content['predictions'][0]['top'], strict=True):
        assert line.split() == [f'{best["probability"]:.2%}', best['name']]


def test_windows_into_a_folder(run, network, videos, tmp_path):
    output = run(
        *(videos / 'a long.AVI', videos / 'c', *network),
        *('--window', 2, '--stride', 1, '--out', tmp_path),
    )
    assert {each.name for each in tmp_path.iterdir()} == {
        *('predictions.json', 'predictions.csv', 'a long.AVI.png', 'short.avi.png')
    }
    with open(tmp_path / 'predictions.csv', encoding='utf-8', newline='') as file:
        rows = [row for row in csv.DictReader(file) if row['rank'] == '1']
    assert [(float(row['start']), float(row['end'])) for row in rows] == [
        *((0, 2), (1, 3), (2, 4), (3, 5), (0, 1))
    ]
    for row in rows:
        assert f'{float(row["probability"]):.2%}  {row["name"]}' in output
    image = cv2.imread(str(tmp_path / 'a long.AVI.png'))
    assert image.shape[1] > 1000


def test_timeline_and_class_names(run, network, videos, tmp_path):
    classes = tmp_path / 'classes.txt'
    classes.write_text('\n'.join(f'Klasse ü {i}' for i in range(12)), encoding='utf-8')
    picture = tmp_path / 'timeline.png'
    output = run(
        *(videos / 'a long.AVI', *network, '--classes', classes),
        *('--window', 1, '--timeline', picture, '--batch-size', 2),
    )
    assert output.count('Klasse ü') == 5
    assert picture.is_file()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['none.mp4'], "video 'none.mp4' does not exist"),
        (['{videos}/empty'], 'has no videos'),
        (['{video}', '--out', 'a.txt'], 'a.txt is not a file that ends in .csv'),
        (['{video}', '--out', 'none/a.json'], 'the folder none does not exist'),
        (['{video}', '--timeline', 'a.png'], '--timeline needs --window'),
        (['{videos}', '--window', '1', '--timeline', 'a.png'], 'there are 3 videos'),
        (['{video}', '--window', '1', '--timeline', 'a.jpg'], 'must end in .png'),
        (['{video}', '--window', '1', '--timeline', 'none/a.png'], 'folder none does'),
        (['{video}', '--window', '0'], 'window is 0.0, expected seconds above 0'),
        (['{video}', '--stride', '1'], 'stride 1 needs a window'),
        (['{video}', '--top-k', '0'], 'top_k must be an integer from 1'),
        (['{video}', '--classes', 'none.txt'], "'none.txt' do not exist"),
        (['{video}', '--device', 'gpu'], "device 'gpu' cannot be used"),
        (['{video}', '--webcam', '0'], '--webcam and videos cannot be combined'),
        (['--webcam', 'none'], "camera 'none' is neither the index"),
        (['--webcam', '0', '--out', 'a.json'], 'must end in .jsonl'),
    ],
)
def test_wrong_arguments(
    refused, network, videos, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (videos / 'empty').mkdir(exist_ok=True)
    paths = dict(videos=videos, video=videos / 'a long.AVI')
    arguments = [argument.format(**paths) for argument in arguments]
    assert message in refused(*network, *arguments)
    assert not [*tmp_path.iterdir()]


def test_arguments_are_checked_before_the_network_is_loaded(
    refused, videos, tmp_path, monkeypatch
):
    monkeypatch.setattr(Predictor, '__init__', None)
    error = refused(videos, '--config', 'none.py', '--out', tmp_path / 'none' / 'a.csv')
    assert 'does not exist' in error


def test_camera(run, network, videos, tmp_path):
    out = tmp_path / 'out.jsonl'
    output = run(
        *('--webcam', videos / 'c' / 'short.avi', *network, '--top-k', 1),
        *('--window', 0.5, '--stride', 0.2, '--out', out),
    )
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == output.count('latency') >= 1
    assert lines[-1]['top'][0]['name'] in NAMES
    assert lines[-1]['latency'] > 0
    assert output.endswith('the camera has ended\n')


@pytest.mark.parametrize('camera', [False, True])
def test_ctrl_c(network, videos, tmp_path, camera):
    """What was predicted is in the file, and no traceback is shown."""
    out = tmp_path / 'out.jsonl'
    source = videos / 'a long.AVI'
    arguments = ['--webcam', source] if camera else [source, '--batch-size', '1']
    process = subprocess.Popen(
        [
            *(sys.executable, TOOL, *arguments, *network, '--out', out),
            *('--window', '0.2', '--stride', '0.1' if camera else '0.001'),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    for line in process.stdout:  # until the first window
        if '%' in line:
            break
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == (0 if camera else 130), errors
    assert ('stopped' in printed) == camera
    assert ('interrupted' in errors) != camera
    assert 'Traceback' not in errors
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) >= printed.count('%')
