# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from selfy_mmaction.inference import Predictor

CONFIGS = Path(__file__).parents[2] / 'configs'
NAMES = ('laufen, schnell', 'fällt', '飛ぶ', 'x')
CONFIG = """
_base_ = '{base}'

model = dict(cls_head=dict(num_classes=4))
test_dataloader = dict(
    batch_size=3,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        ann_file='{data}/val.txt',
        data_prefix=dict(video='{data}/videos'),
        num_classes=4))
"""


class Files(NamedTuple):
    """An untrained network of four classes."""

    config: Path
    checkpoint: Path


def save_network(config: Config, path: Path, **meta) -> Path:
    """Write a checkpoint of untrained weights that tell clips apart."""
    init_default_scope('mmaction')
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    torch.nn.init.normal_(model.cls_head.fc_cls.weight, std=0.5)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


@pytest.fixture(scope='session', name='save_network')
def _save_network() -> Callable[..., Path]:
    return save_network


@pytest.fixture(scope='session')
def names() -> tuple[str, ...]:
    return NAMES


@pytest.fixture(scope='session')
def files(motion_tiny, tmp_path_factory) -> Files:
    folder = tmp_path_factory.mktemp('network')
    base = CONFIGS / 'motion' / 'selfy-tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'
    config = folder / 'config.py'
    config.write_text(CONFIG.format(base=base, data=motion_tiny))
    checkpoint = save_network(
        Config.fromfile(config),
        folder / 'network.pth',
        dataset_meta=dict(classes=NAMES),
    )
    return Files(config, checkpoint)


@pytest.fixture(scope='session')
def predictor(files) -> Predictor:
    init_default_scope('mmaction')
    return Predictor(files.config, files.checkpoint, device='cpu', batch_size=3)


@pytest.fixture(scope='session')
def clips(motion_tiny) -> list[Path]:
    return sorted((motion_tiny / 'videos').rglob('*.avi'))


@pytest.fixture(scope='session')
def frames(clips) -> np.ndarray:
    """Frames of several clips in a row, (T, 64, 64, 3), RGB."""
    images = []
    for clip in clips[:4]:
        capture = cv2.VideoCapture(str(clip))
        while (read := capture.read())[0]:
            images.append(read[1][..., ::-1])
    return np.stack(images)


@pytest.fixture
def write(tmp_path) -> Callable[..., Path]:
    """Write frames as Motion JPEG: the same frame is always the same pixels."""

    def write_video(name: str, frames: np.ndarray, fps: float = 10) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        size = frames.shape[2], frames.shape[1]
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), fps, size)
        for frame in frames:
            writer.write(np.ascontiguousarray(frame[..., ::-1]))
        writer.release()
        return path

    return write_video
