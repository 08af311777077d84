# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Resize and crops of the configs equal the official recipe."""

import random
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmaction.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import Compose
from PIL import Image

ROOT = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'
SPATIAL = ('Resize', 'MultiScaleCrop', 'CenterCrop', 'ThreeCrop')


def spatial_steps(loader, name='sthv2'):
    dataset = Config.fromfile(ROOT / f'{name}.py')[f'{loader}_dataloader'].dataset
    return [TRANSFORMS.build(s) for s in dataset.pipeline if s.type in SPATIAL]


def run(steps, image):
    results = dict(imgs=[image], img_shape=image.shape[:2], modality='RGB')
    return Compose(steps)(results)


def picture(height, width, seed=0):
    """Make an image of smooth random colors, like a photo."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def bilinear(image, width, height):
    """Resize bilinearly; pixel centers are at 0.5."""

    def along(axis, size):
        old = image.shape[axis]
        position = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
        low = np.minimum(position.astype(int), max(old - 2, 0))
        return low, np.minimum(low + 1, old - 1), position - low

    top, bottom, y = along(0, height)
    left, right, x = along(1, width)
    x, y = x[None, :, None], y[:, None, None]
    image = image.astype(float)
    upper = image[top][:, left] * (1 - x) + image[top][:, right] * x
    lower = image[bottom][:, left] * (1 - x) + image[bottom][:, right] * x
    return upper * (1 - y) + lower * y


def crop_box(width, height):
    """Draw the official multi-scale crop: 10 pairs of sizes, 13 places."""
    base = min(width, height)
    sizes = [int(base * scale) for scale in (1, 0.875, 0.75, 0.66)]
    sizes = [224 if abs(size - 224) < 3 else size for size in sizes]
    pairs = [
        (sizes[j], sizes[i]) for i in range(4) for j in range(4) if abs(i - j) <= 1
    ]
    w, h = random.choice(pairs)
    dx, dy = (width - w) // 4, (height - h) // 4
    places = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2)]  # corners and center
    places += [(0, 2), (4, 2), (2, 4), (2, 0)]  # sides
    places += [(1, 1), (3, 1), (1, 3), (3, 3)]  # quarters
    column, row = random.choice(places)
    left, top = column * dx, row * dy
    return [left, top, left + w, top + h]


@pytest.mark.parametrize('shape', [(240, 427), (427, 240), (100, 176), (7, 9), (1, 1)])
def test_resize_is_exact_and_bilinear(shape):
    image = picture(*shape)
    for loader in ('train', 'val', 'test'):
        out = run(spatial_steps(loader)[:1], image)
        assert out['img_shape'] == out['imgs'][0].shape[:2] == (240, 320)
        expected = bilinear(image, 320, 240)
        assert np.abs(out['imgs'][0] - expected).max() <= 1


@pytest.mark.parametrize('shape', [(100, 132), (100, 176), (240, 320)])
def test_enlarging_equals_the_official_resize(shape):
    # The official code uses PIL. Frames of SS-V1 are 100 pixels high.
    image = picture(*shape)
    out = run(spatial_steps('train')[:1], image)['imgs'][0]
    official = np.asarray(Image.fromarray(image).resize((320, 240), Image.BILINEAR))
    assert np.abs(out.astype(int) - official).max() <= 1


def test_shrinking_differs_from_the_official_resize():
    # PIL then averages all pixels, but OpenCV uses only the nearest ones. docs/data.md
    # gives the difference on a photo; fine stripes are the worst case.
    image = picture(240, 427)
    image[:, ::2] //= 2
    out = run(spatial_steps('train')[:1], image)['imgs'][0]
    official = np.asarray(Image.fromarray(image).resize((320, 240), Image.BILINEAR))
    assert np.abs(out.astype(int) - official).max() > 20


@pytest.mark.parametrize('size', [(320, 240), (224, 224), (226, 226), (301, 237)])
def test_multi_scale_crops_equal_the_official_ones(size):
    width, height = size
    crop = spatial_steps('train')[1]
    image = picture(height, width)
    seen = set()
    for seed in range(300):
        random.seed(seed)
        expected = crop_box(width, height)
        random.seed(seed)
        out = run([crop], image)
        assert out['crop_bbox'].tolist() == expected
        left, top, right, bottom = expected
        np.testing.assert_array_equal(out['imgs'][0], image[top:bottom, left:right])
        seen.add(tuple(expected))
    assert len(seen) > 30


def test_training_clip_is_224():
    random.seed(0)
    for _ in range(5):
        out = run(spatial_steps('train'), picture(240, 427))
        assert out['imgs'][0].shape == (224, 224, 3)


def test_test_clip_is_a_center_crop():
    image = picture(240, 320)
    for loader in ('val', 'test'):
        out = run(spatial_steps(loader), image)['imgs'][0]
        np.testing.assert_array_equal(out, image[8:232, 48:272])


def test_kinetics_has_three_crops_along_the_longer_side():
    image = picture(256, 341)
    crops = run(spatial_steps('test', 'kinetics400'), image)['imgs']
    # TSM's loader rounds a quarter of the margin, mmaction2 half of it.
    for crop, quarters in zip(crops, (0, 4, 2), strict=True):
        official = quarters * ((341 - 256) // 4)
        assert any(
            np.array_equal(crop, image[:, left : left + 256])
            for left in range(official, official + 2)
        )
    tall = run(spatial_steps('test', 'kinetics400'), picture(600, 400))['imgs']
    assert [crop.shape for crop in tall] == [(256, 256, 3)] * 3
    assert not np.array_equal(tall[0], tall[1])  # top and bottom; in TSM, both center
