# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import numpy as np
import pytest
from mmaction.evaluation.functional import multisports_utils
from mmengine.utils import digit_version

from selfy_mmaction.compat import multisports_frames
from selfy_mmaction.compat.multisports_frames import apply_multisports_frames


def test_conversion_fails_only_without_the_workaround(symptoms):
    seen = symptoms['multisports_frames']
    if digit_version(np.__version__) >= digit_version('2.4.0'):
        assert seen['before'] == (
            'TypeError: only 0-dimensional arrays can be converted to Python scalars'
        )
    # Equal boxes in frames 0 to 3 and 2 to 3: 1 of 3 frame intervals is shared.
    assert seen['after'] == pytest.approx(1 / 3)


def test_duplicate_frame_is_still_rejected():
    tube = np.array([[0.0, 0, 0, 9, 9], [0.0, 0, 0, 9, 9]])
    with pytest.raises((TypeError, ValueError)):
        multisports_utils.iou3dt_voc(tube, tube)


def test_not_applied_if_not_needed(monkeypatch):
    assert apply_multisports_frames() is False
    monkeypatch.delattr(multisports_utils, 'int', raising=False)
    monkeypatch.setattr(multisports_frames, '_tubes_are_compared', lambda: True)
    assert apply_multisports_frames() is False
    assert not hasattr(multisports_utils, 'int')
