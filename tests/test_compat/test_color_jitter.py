# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import cv2
import numpy as np
import pytest
from mmaction.datasets.transforms import ColorJitter

from selfy_mmaction.compat import color_jitter
from selfy_mmaction.compat.color_jitter import apply_color_jitter


def test_negative_hue_overflows_without_and_works_with_the_workaround(symptoms):
    seen = symptoms['color_jitter']
    if int(np.__version__.split('.')[0]) >= 2:
        assert seen['before'].startswith('OverflowError: Python integer -25 out of')
    else:
        assert seen['before'] == seen['after']
    assert seen['after'] == [200.0, 50.0, 125.0]


def as_numpy_1(image, factor):
    """The upstream method with numpy 1's casting written out."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    offset = int(factor * 255)
    # numpy 1 chose the smallest type for the offset, then promoted: uint8 with uint8
    # stays uint8, uint8 with int8 becomes int16.
    smallest = np.uint8 if offset >= 0 else np.int8
    total = hsv[..., 0] + np.full(hsv.shape[:2], offset, smallest)
    hsv[..., 0] = total % 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.float32)


@pytest.mark.parametrize('factor', [-0.5, -0.3, -0.1, -0.003, 0.0, 0.1, 0.3, 0.5])
def test_results_are_those_of_numpy_1(factor):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    found = ColorJitter.adjust_hue(image.astype(np.float32), factor)
    assert found.dtype == np.float32
    assert np.array_equal(found, as_numpy_1(image, factor))


def test_transform_calls_the_replaced_method():
    np.random.seed(0)
    image = np.full((4, 4, 3), (200, 100, 50), np.uint8)
    results = ColorJitter(0.0, 0.0, 0.0, (-0.2, -0.1)).transform({'imgs': [image]})
    red, green, blue = results['imgs'][0][0, 0]
    assert blue > green
    assert red == 200


def test_not_applied_on_numpy_1_or_if_not_needed(monkeypatch):
    method = ColorJitter.adjust_hue
    assert apply_color_jitter() is False
    monkeypatch.setattr(color_jitter, '_hue_goes_down', lambda: False)
    monkeypatch.setattr(np, '__version__', '1.26.4')
    assert apply_color_jitter() is False
    assert ColorJitter.adjust_hue is method
