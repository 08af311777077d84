# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's ``ColorJitter`` cannot decrease the hue on numpy 2."""

import cv2
import numpy as np
from mmaction.datasets.transforms import ColorJitter
from mmengine.utils import digit_version


def apply_color_jitter() -> bool:
    """Replace ``ColorJitter.adjust_hue`` if it fails.

    Symptom: ``OverflowError: Python integer -25 out of bounds for uint8`` at random
    from a data loader worker, for every clip with a negative hue offset.

    Upstream: not reported.

    Delete when: the oldest supported mmaction2 computes the hue in a signed type.
    """
    if digit_version(np.__version__) < digit_version('2.0.0') or _hue_goes_down():
        return False
    ColorJitter.adjust_hue = staticmethod(_adjust_hue)
    return True


def _hue_goes_down() -> bool:
    try:
        ColorJitter.adjust_hue(np.zeros((1, 1, 3), np.float32), -0.1)
    except OverflowError:
        return False
    return True


def _adjust_hue(img: np.ndarray, factor: float) -> np.ndarray:
    img = np.clip(img, 0, 255).astype(np.uint8)
    hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV)
    offset = int(factor * 255)
    hue = hsv[..., 0]
    if offset < 0:
        # numpy 1 promoted to int16 for negative offsets only. For positive ones numpy
        # 1 and 2 stay in uint8 and wrap at 256 before the modulo (offsets above 76,
        # a hue range above 0.3); we keep that so that results do not change.
        hue = hue.astype(np.int16)
    hsv[..., 0] = (hue + offset) % 180
    img = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    return img.astype(np.float32)
