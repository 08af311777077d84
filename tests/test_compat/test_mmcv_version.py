# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import subprocess
import sys

import mmcv
import pytest

from selfy_mmaction.compat.mmcv_version import _check_mmcv, close_mmcv_version


def import_with_newer_mmcv(statements):
    code = f"import mmcv; mmcv.__version__ = '2.3.6'\n{statements}"
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)


def test_refused_before_and_imported_after():
    before = import_with_newer_mmcv('import mmaction')
    assert 'AssertionError: MMCV==2.3.6 is used but incompatible.' in before.stderr
    after = import_with_newer_mmcv(
        'import selfy_mmaction, mmaction.models; print(mmcv.__version__)'
    )
    assert after.stdout.splitlines()[-1:] == ['2.3.6'], after.stderr


@pytest.fixture
def newer_mmcv(monkeypatch):
    monkeypatch.setattr(mmcv, '__version__', '2.3.6')


@pytest.mark.parametrize('version', ['2.1.0', '3.0.0'])
def test_what_mmaction2_accepts_and_other_generations_are_left_to_it(
    version, monkeypatch
):
    monkeypatch.setattr(mmcv, '__version__', version)
    monkeypatch.delitem(sys.modules, 'mmaction')
    assert close_mmcv_version() is False
    assert 'mmaction' not in sys.modules


@pytest.mark.usefixtures('newer_mmcv')
def test_nothing_is_done_where_mmaction2_is_imported():
    assert close_mmcv_version() is False


@pytest.mark.usefixtures('newer_mmcv')
def test_mmcv_that_does_something_else_is_refused(monkeypatch):
    _check_mmcv()
    monkeypatch.setattr(mmcv, 'imflip_', lambda image: image)
    monkeypatch.delitem(sys.modules, 'mmaction')
    with pytest.raises(ImportError, match=r'mmcv 2\.3\.6 .*: imflip_ gave another'):
        close_mmcv_version()


def test_mmcv_that_lacks_something_is_refused(monkeypatch):
    monkeypatch.delattr(mmcv, 'imresize')
    with pytest.raises(ImportError, match=r'imresize.*pip install mmcv-lite==2\.1\.0'):
        _check_mmcv()
