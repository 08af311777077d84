# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import ast
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import mmaction.utils.misc
import numpy as np
import pytest
from mmaction.datasets.transforms import MMCompact
from mmaction.utils import frame_extract

from selfy_mmaction.compat import numpy_names
from selfy_mmaction.compat.numpy_names import apply_numpy_names

numpy2 = pytest.mark.skipif(hasattr(np, 'Inf'), reason='numpy 1 has all names')


@numpy2
def test_names_are_missing_without_the_workaround(symptoms):
    seen = symptoms['numpy_names']
    assert seen['before']['box'].startswith('AttributeError: `np.Inf` was removed')
    assert 'NAN' in seen['before']['ap']
    if not hasattr(np, 'in1d'):
        assert seen['before']['auc'] == (
            "AttributeError: module 'numpy' has no attribute 'trapz'"
        )
        assert seen['before']['recall'] == (
            "AttributeError: module 'numpy' has no attribute 'in1d'"
        )


def test_results_with_the_workaround(symptoms):
    assert symptoms['numpy_names']['after'] == {
        # Joints at (10, 20) and (50, 40) in 100x100 pixels: x, y, width, height.
        'box': [0.1, 0.2, 0.4, 0.2],
        'ap': 'nan',
        # The only proposal counts from an average of 1 per video on: recall is 0 for
        # the first 99 steps of 0.01, and 1 at the last.
        'auc': pytest.approx(100 * 0.01 / 2),
        # The target ranks first for one of two samples.
        'recall': 50.0,
    }


def test_compact_clip_with_and_without_joints():
    keypoint = np.array([[[[10.0, 20.0], [50.0, 40.0]]]])
    clip = dict(img_shape=(100, 100), keypoint=keypoint, imgs=[np.zeros((100, 100, 3))])
    compact = MMCompact(padding=0.0, hw_ratio=None).transform(clip)
    assert compact['imgs'][0].shape == (20, 40, 3)
    clip.update(img_shape=(100, 100), keypoint=np.zeros((1, 1, 2, 2)))
    clip['imgs'] = [np.zeros((100, 100, 3))]
    assert MMCompact(padding=0.0, hw_ratio=None).transform(clip)['imgs'][0].shape == (
        100,
        100,
        3,
    )


def test_frames_are_extracted_with_the_given_short_side(tmp_path):
    path = str(tmp_path / 'clip.avi')
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'MJPG'), 5, (64, 48))
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    _, frames = frame_extract(path, short_side=24, out_dir=str(tmp_path / 'out'))
    assert [frame.shape for frame in frames] == [(24, 32, 3)]


@numpy2
def test_numpy_itself_is_unchanged():
    assert not hasattr(np, 'Inf')
    assert mmaction.utils.misc.np.Inf == np.inf
    assert mmaction.utils.misc.np.ndarray is np.ndarray
    with pytest.raises(AttributeError, match='float_'):
        mmaction.utils.misc.np.float_  # noqa: B018
    assert apply_numpy_names() is False


@numpy2
def test_in1d_flattens_as_in_numpy_1():
    found = mmaction.utils.misc.np.in1d([[1, 2], [3, 4]], [[2, 3]], invert=True)
    assert found.tolist() == [True, False, False, True]


def test_not_applied_on_numpy_1(monkeypatch):
    monkeypatch.setattr(np, 'Inf', np.inf, raising=False)
    monkeypatch.setattr(mmaction.utils.misc, 'np', np)
    assert apply_numpy_names() is False
    assert mmaction.utils.misc.np is np


def modules_with_missing_names(package):
    """Yield the modules of a package that use names that numpy lacks."""
    (folder,) = find_spec(package).submodule_search_locations
    for path in sorted(Path(folder).rglob('*.py')):
        parts = path.relative_to(folder).with_suffix('').parts
        source = path.read_text(encoding='utf-8')
        # Scripts run as __main__; mmcv-lite cannot import mmcv.ops.
        if parts[0] in ('.mim', 'ops') or 'np.' not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == 'np'
                and node.attr not in NAMES
                and not node.attr.startswith('_')
            ):
                yield '.'.join((package, *parts)).removesuffix('.__init__')


# Public names only: deprecated ones will be missing in the next numpy.
NAMES = {*np.__all__, 'core', 'lib', 'linalg', 'random', 'typing'}


@numpy2
@pytest.mark.filterwarnings('ignore:invalid escape')
def test_no_other_module_of_the_hosts_uses_a_missing_name():
    found = {
        module
        for package in ('mmaction', 'mmengine', 'mmcv')
        for module in modules_with_missing_names(package)
    }
    assert found <= set(numpy_names._MODULES)
    if not hasattr(np, 'in1d'):  # numpy 2.0 to 2.3 have some of the names
        assert found == set(numpy_names._MODULES)


@numpy2
def test_each_patched_module_finds_all_its_names():
    for name in numpy_names._MODULES:
        module = sys.modules[name]
        tree = ast.parse(Path(module.__file__).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == 'np':
                assert hasattr(module.np, node.attr), (name, node.attr)
