# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from importlib import import_module
from pathlib import Path

import mmcv
import numpy as np
import pytest
from mmengine.utils import digit_version

import selfy_mmaction.compat
from selfy_mmaction.compat import GAPS, close_gap, close_gaps

# Gaps that are there since a version of numpy only.
SINCE_NUMPY = {
    'color_jitter': '2.0.0',
    'numpy_names': '2.0.0',
    'multisports_frames': '2.4.0',
}


def test_each_gap_is_there_and_closes_once(shown_gaps):
    assert list(shown_gaps) == list(GAPS)
    for gap, seen in shown_gaps.items():
        numpy_since = SINCE_NUMPY.get(gap, '0')
        present = digit_version(np.__version__) >= digit_version(numpy_since)
        if gap == 'mmcv_version':
            present = digit_version(mmcv.__version__) >= digit_version('2.2.0')
        assert seen['closed'] == [present, False], gap


def test_importing_the_package_has_closed_all_gaps():
    assert close_gaps() == dict.fromkeys(GAPS, False)


def test_every_file_is_a_gap():
    folder = Path(selfy_mmaction.compat.__file__).parent
    files = {file.stem for file in folder.glob('*.py')} - {'__init__'}
    assert files == set(GAPS)


@pytest.mark.parametrize('gap', GAPS)
def test_docstring_says_when_to_delete(gap):
    module = import_module(f'selfy_mmaction.compat.{gap}')
    text = getattr(module, f'close_{gap}').__doc__
    for heading in ('Symptom: ', 'Upstream: ', 'Delete when: '):
        assert heading in text


def test_unknown_gap():
    with pytest.raises(ImportError, match=r'compat\.crack'):
        close_gap('crack')
