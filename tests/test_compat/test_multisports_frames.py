# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import numpy as np
import pytest
from mmaction.evaluation.functional import multisports_utils
from mmengine.utils import digit_version

from selfy_mmaction.compat import multisports_frames
from selfy_mmaction.compat.multisports_frames import close_multisports_frames


def test_conversion_fails_before_and_overlap_is_right_after(shown_gaps):
    seen = shown_gaps['multisports_frames']
    if digit_version(np.__version__) >= digit_version('2.4.0'):
        assert seen['before'] == (
            'TypeError: only 0-dimensional arrays can be converted to Python scalars'
        )
    # Equal boxes in frames 0 to 3 and 2 to 3: 1 of 3 frame distances is shared.
    assert seen['after'] == pytest.approx(1 / 3)


def test_frame_that_is_there_twice_is_still_refused():
    tube = np.array([[0.0, 0, 0, 9, 9], [0.0, 0, 0, 9, 9]])
    with pytest.raises((TypeError, ValueError)):
        multisports_utils.iou3dt_voc(tube, tube)


def test_nothing_is_done_where_it_works(monkeypatch):
    assert close_multisports_frames() is False
    monkeypatch.delattr(multisports_utils, 'int', raising=False)
    monkeypatch.setattr(multisports_frames, '_tubes_are_compared', lambda: True)
    assert close_multisports_frames() is False
    assert not hasattr(multisports_utils, 'int')
