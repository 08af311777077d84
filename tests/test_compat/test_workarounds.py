# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from importlib import import_module
from pathlib import Path

import mmcv
import numpy as np
import pytest
from mmengine.utils import digit_version

import selfy_mmaction.compat
from selfy_mmaction.compat import WORKAROUNDS, apply_workaround, apply_workarounds

# Workarounds that are only needed from this version of numpy on.
SINCE_NUMPY = {
    'color_jitter': '2.0.0',
    'numpy_names': '2.0.0',
    'multisports_frames': '2.4.0',
}


def test_each_workaround_is_needed_and_applied_once(symptoms):
    assert list(symptoms) == list(WORKAROUNDS)
    for name, seen in symptoms.items():
        numpy_since = SINCE_NUMPY.get(name, '0')
        needed = digit_version(np.__version__) >= digit_version(numpy_since)
        if name == 'mmcv_version':
            needed = digit_version(mmcv.__version__) >= digit_version('2.2.0')
        assert seen['applied'] == [needed, False], name


def test_importing_the_package_applies_all_workarounds():
    assert apply_workarounds() == dict.fromkeys(WORKAROUNDS, False)


def test_every_file_is_a_workaround():
    folder = Path(selfy_mmaction.compat.__file__).parent
    files = {file.stem for file in folder.glob('*.py')} - {'__init__'}
    assert files == set(WORKAROUNDS)


@pytest.mark.parametrize('name', WORKAROUNDS)
def test_docstring_states_when_to_delete(name):
    module = import_module(f'selfy_mmaction.compat.{name}')
    text = getattr(module, f'apply_{name}').__doc__
    for heading in ('Symptom: ', 'Upstream: ', 'Delete when: '):
        assert heading in text


def test_unknown_workaround():
    with pytest.raises(ImportError, match=r'compat\.none'):
        apply_workaround('none')
