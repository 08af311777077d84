# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Names and writers for the made-up downloads of conftest.py."""

import json
from pathlib import Path

import cv2
import numpy as np

STHV1_NAMES = [  # in the order of mmaction2
    'Holding something',
    'Turning the camera left while filming something',
    'Poking a hole into some substance',
    'Approaching something with your camera',
]


GYM_A, GYM_B, GYM_C = (
    '0LtLS9wROrk_E_000001_000003_A_0000_0001',
    '0LtLS9wROrk_E_000001_000003_A_0001_0001',
    'z_-S-wCJSsw_E_000000_000002_A_0001_0002',
)


def put_frames(folder: Path, count: int, frame_name: str = '{:05}.jpg') -> None:
    folder.mkdir(parents=True)
    for i in range(1, count + 1):
        cv2.imwrite(str(folder / frame_name.format(i)), np.full((8, 8), i, np.uint8))


def put_json(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
