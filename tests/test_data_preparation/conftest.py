# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Made-up downloads in the official formats, and a fixture to run the tool."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_up_downloads import GYM_A, GYM_B, GYM_C, STHV1_NAMES, put_frames, put_json

TOOL = Path(__file__).parents[2] / 'tools' / 'data' / 'prepare.py'


@pytest.fixture(scope='session')
def video(tmp_path_factory) -> Path:
    """40 frames at 12 frames per second; frame i has gray level 6 i."""
    path = tmp_path_factory.mktemp('video') / 'clip.avi'
    writer = cv2.VideoWriter(
        str(path),
        cv2.CAP_OPENCV_MJPEG,
        cv2.VideoWriter_fourcc(*'MJPG'),
        12,
        (64, 48),
    )
    for i in range(40):
        writer.write(np.full((48, 64, 3), 6 * i, np.uint8))
    writer.release()
    return path


@pytest.fixture
def put_video(video) -> Callable[[Path], None]:
    def put(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(video.read_bytes())

    return put


@pytest.fixture
def sthv1(tmp_path) -> Path:
    raw = tmp_path / 'raw'
    (raw / 'annotations').mkdir(parents=True)
    stem = 'annotations/something-something-v1-'
    (raw / f'{stem}labels.csv').write_text('\n'.join(STHV1_NAMES) + '\n')
    (raw / f'{stem}train.csv').write_text(
        '100218;Turning the camera left while filming something\n'
        '7;Holding something\n'
        '12;Poking a hole into some substance\n'
    )
    (raw / f'{stem}validation.csv').write_text(
        '85;Approaching something with your camera\n'
    )
    (raw / f'{stem}test.csv').write_text('9\n')
    for clip, count in {'100218': 3, '7': 2, '12': 4, '85': 3, '9': 2}.items():
        put_frames(raw / '20bn-something-something-v1' / clip, count)
    return raw


@pytest.fixture
def sthv2(tmp_path, put_video) -> Path:
    raw = tmp_path / 'raw'
    labels = {
        'Holding something': '1',
        'Approaching something with your camera': '0',
        'Pushing something from left to right': '2',
    }

    def entry(clip: str, template: str) -> dict:
        filled = template.replace('[something]', 'a cup')
        return dict(id=clip, label=filled, template=template, placeholders=['a cup'])

    put_json(raw / 'labels' / 'labels.json', labels)
    put_json(
        raw / 'labels' / 'train.json',
        [
            entry('78687', 'Holding [something]'),
            entry('42326', 'Pushing [something] from left to right'),
            entry('100904', 'Approaching [something] with your camera'),
        ],
    )
    put_json(raw / 'labels' / 'validation.json', [entry('3', 'Holding [something]')])
    put_json(raw / 'labels' / 'test.json', [dict(id='5')])
    for clip in ('78687', '42326', '100904', '3', '5'):
        put_video(raw / '20bn-something-something-v2' / f'{clip}.webm')
    return raw


@pytest.fixture
def diving48(tmp_path, put_video) -> Path:
    raw = tmp_path / 'raw'

    def entries(**labels: int) -> list[dict]:
        times = dict(start_frame=0, end_frame=40)
        return [dict(vid_name=clip, label=x, **times) for clip, x in labels.items()]

    names = [['Back', '15som', '05Twis', 'FREE'], ['Forward', 'Dive', 'NoTwis', 'PIKE']]
    put_json(raw / 'Diving48_vocab.json', names)
    put_json(raw / 'Diving48_train.json', entries(a_00001=0, a_00002=1, b_00000=1))
    put_json(raw / 'Diving48_test.json', entries(c_00007=0))
    put_json(raw / 'Diving48_V2_train.json', entries(a_00001=1, a_00002=1))
    put_json(raw / 'Diving48_V2_test.json', entries(c_00007=1))
    for clip in ('a_00001', 'a_00002', 'b_00000', 'c_00007'):
        put_video(raw / 'rgb' / f'{clip}.mp4')
    return raw


@pytest.fixture
def gym(tmp_path, put_video) -> Path:
    """Two videos, one of them missing, with stages and events as in FineGym."""
    raw = tmp_path / 'raw'
    stages = [[0.5, 0.75], [0.75, 1.5]]
    put_json(
        raw / 'finegym_annotation_info_v1.0.json',
        {
            '0LtLS9wROrk': {
                'E_000001_000003': {
                    'event': 1,
                    'timestamps': [[1.0, 3.2]],
                    'segments': {
                        'A_0000_0001': {'stages': 2, 'timestamps': stages},
                        'A_0001_0001': {'stages': 1, 'timestamps': [[1.0, 1.25]]},
                    },
                },
                'E_000009_000010': {
                    'event': 1,
                    'timestamps': [[9, 10]],
                    'segments': None,
                },
            },
            'z_-S-wCJSsw': {
                'E_000000_000002': {
                    'event': 2,
                    'timestamps': [[0.0, 2.0]],
                    'segments': {
                        'A_0001_0002': {'stages': 1, 'timestamps': [[1.0, 2.0]]}
                    },
                }
            },
        },
    )
    (raw / 'gym99_categories.txt').write_text(
        'Clabel:   0; set: 33; Glabel: 290; (BB) salto backward tucked\n'
        'Clabel:   1; set: 34; Glabel: 336; (BB) round-off      \n'
        'Clabel:   2; set: 35; Glabel: 359; (BB) salto backward tucked\n'
    )
    (raw / 'gym99_train_element_v1.0.txt').write_text(f'{GYM_A} 2\n{GYM_C} 0\n')
    (raw / 'gym99_val_element.txt').write_text(f'{GYM_B} 1\n')
    (raw / 'gym288_categories.txt').write_text(
        'Clabel:   0; set:  1; Glabel:   1; (VT) round-off on\n'
        'Clabel:   1; set: 33; Glabel: 290; (BB) salto backward tucked\n'
    )
    (raw / 'gym288_train_element_v1.0.txt').write_text(f'{GYM_A} 1\n')
    (raw / 'gym288_val_element.txt').write_text(f'{GYM_B} 0\n')
    put_video(raw / 'videos' / '0LtLS9wROrk.mp4')
    return raw


@pytest.fixture
def kinetics400(tmp_path, put_video) -> Path:
    raw = tmp_path / 'raw'
    (raw / 'annotations').mkdir(parents=True)
    (raw / 'annotations' / 'train.csv').write_text(
        'label,youtube_id,time_start,time_end,split,is_cc\n'
        '"zumba",_dbcJuKJQNs,40,50,train,0\n'
        '"air drumming",---QUuC4vJs,84,94,train,0\n'
        'abseiling,0wR5jVB-WPk,417,427,train,0\n'
    )
    (raw / 'annotations' / 'validate.csv').write_text(
        'label,youtube_id,time_start,time_end,split\n'
        'air drumming,-3B32lodo2M,59,69,val\n'
    )
    put_video(raw / 'train' / 'air_drumming' / '---QUuC4vJs_000084_000094.mp4')
    put_video(raw / 'train' / 'abseiling' / '0wR5jVB-WPk_000417_000427.mp4')
    put_video(raw / 'val' / '-3B32lodo2M_000059_000069.mkv')
    return raw


@pytest.fixture
def run_tool(run_script) -> Callable[..., int]:
    """Run tools/data/prepare.py in this process and return its exit code."""

    def run(*args: str | Path) -> int:
        with pytest.raises(SystemExit) as stopped:
            run_script(TOOL, *args)
        return stopped.value.code

    return run
