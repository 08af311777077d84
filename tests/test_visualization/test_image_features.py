# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import builtins

import cv2
import numpy as np
import pytest
import torch
from mmaction.models.backbones import ResNet

from selfy_mmaction.datasets.reading import UnreadableError
from selfy_mmaction.visualization.image_features import ImageFeatures


def write_video(path, frames, fps=20):
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*'mp4v'), fps, (width, height)
    )
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return str(path)


@pytest.fixture(scope='module')
def texture():
    coarse = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    return cv2.resize(coarse, (480, 320), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope='module')
def features():
    return ImageFeatures(num_frames=4)


def test_known_motion_of_a_video(features, texture, tmp_path):
    # A cell is 8 pixels at 224 rows; the camera moves right, the picture left.
    frames = [texture[:224, 8 * t : 8 * t + 298] for t in range(8)]
    video = write_video(tmp_path / 'pan.mp4', frames)
    clip = features.read(video, start=0, seconds=0.4)
    recorded = features.record(clip, 'pan', offsets=(-1, 0, 1))
    assert recorded.frames.shape == (4, 224, 298, 3)
    step = round((recorded.seconds[1] - recorded.seconds[0]) * 20)
    moved = recorded.displacement[1, 5:-5, 8:-8]
    np.testing.assert_allclose(
        np.median(moved, axis=(0, 1)), [[0, step], [0, 0], [0, -step]], atol=0.15
    )


def test_middle_of_a_long_video_is_the_default(features, texture, tmp_path):
    video = write_video(tmp_path / 'long.mp4', [texture] * 60)
    clip = features.read(video)
    assert clip.window.start == pytest.approx(1.5 - 0.2, abs=0.03)
    assert clip.window.end == pytest.approx(1.5 + 0.2, abs=0.03)


@pytest.mark.parametrize(
    ('shape', 'expected'), [((320, 180), (398, 224)), ((64, 512), (56, 448))]
)
def test_whole_frames_in_any_shape(features, tmp_path, shape, expected):
    frames = [np.zeros((*shape, 3), np.uint8)] * 4
    clip = features.read(write_video(tmp_path / 'shape.mp4', frames))
    assert features.record(clip, 'shape').frames.shape[1:3] == expected


def test_short_video_has_fewer_frames(features, texture, tmp_path):
    clip = features.read(write_video(tmp_path / 'short.mp4', [texture] * 3))
    assert len(features.record(clip, 'short').frames) == 3
    with pytest.raises(ValueError, match=r'single frame; expected at least 2'):
        features.read(write_video(tmp_path / 'one.mp4', [texture]))


@pytest.mark.parametrize(
    ('part', 'message'),
    [
        (dict(start=3.0), r'start is 3, expected 0 to 0\.2, the seconds'),
        (dict(start=-1.0), r'start is -1, expected 0'),
        (dict(seconds=0.0), r'seconds is 0\.0, expected a number above 0'),
        (dict(start=0.05, seconds=0.05), r'single frame'),
    ],
)
def test_part_outside_the_video(features, texture, tmp_path, part, message):
    video = write_video(tmp_path / 'four.mp4', [texture] * 4)
    with pytest.raises(ValueError, match=message):
        features.read(video, **part)


def test_file_that_is_no_video(features, tmp_path):
    path = tmp_path / 'text.mp4'
    path.write_text('not a video')
    with pytest.raises(UnreadableError):
        features.read(path)


def resnet_file(path, depth=18, **replaced):
    """A state dict with torchvision's names."""
    weights = {}
    for key, weight in ResNet(depth, pretrained=None).state_dict().items():
        layer, _, rest = key.rpartition('.')
        owner, kind = layer.rsplit('.', 1)
        if 'downsample' in owner:
            name = f'{owner}.{0 if kind == "conv" else 1}'
        else:
            name = owner if kind == 'conv' else owner.replace('conv', 'bn')
        weights[f'{name}.{rest}'] = weight
    torch.save({**weights, **replaced}, path)
    return path


def test_resnet_of_the_user(texture, tmp_path):
    path = resnet_file(tmp_path / 'resnet18.pth')
    features = ImageFeatures(path, num_frames=2)
    video = write_video(tmp_path / 'still.mp4', [texture] * 4)
    recorded = features.record(features.read(video), 'still')
    assert recorded.source == 'ResNet-18 (ImageNet features)'
    assert recorded.grid == (28, 42)
    weights = torch.load(path, weights_only=True)
    stored = weights['layer2.1.conv2.weight']
    used = features.network.layer2[1].conv2.conv.weight
    assert torch.equal(used.cpu(), stored)


def test_wrong_image_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"image weights 'none.pth' do not"):
        ImageFeatures('none.pth')
    wide = {'layer2.0.conv2.weight': torch.zeros(256, 256, 3, 3)}
    for path in (
        resnet_file(tmp_path / 'wide.pth', **wide),
        tmp_path / 'other.pth',
    ):
        if not path.exists():
            torch.save({'weight': torch.zeros(1)}, path)
        with pytest.raises(ValueError, match=r'no weights of a torchvision ResNet'):
            ImageFeatures(path)


def test_missing_packages(monkeypatch):
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith('efficientnet'):
            raise ImportError(f'No module named {name!r}')
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', refuse)
    with pytest.raises(ImportError, match=r"pip install 'selfy-mmaction\[visualize\]'"):
        ImageFeatures()
