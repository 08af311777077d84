# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import subprocess
import sys

import mmcv
import pytest

from selfy_mmaction.compat.mmcv_version import _check_mmcv, apply_mmcv_version


def import_with_newer_mmcv(statements):
    code = f"import mmcv; mmcv.__version__ = '2.3.6'\n{statements}"
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)


@pytest.mark.slow
def test_import_fails_without_and_works_with_the_workaround():
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
def test_not_applied_to_accepted_versions_and_other_majors(version, monkeypatch):
    monkeypatch.setattr(mmcv, '__version__', version)
    monkeypatch.delitem(sys.modules, 'mmaction')
    assert apply_mmcv_version() is False
    assert 'mmaction' not in sys.modules


@pytest.mark.usefixtures('newer_mmcv')
def test_not_applied_if_mmaction2_is_imported():
    assert apply_mmcv_version() is False


@pytest.mark.usefixtures('newer_mmcv')
def test_mmcv_with_other_results_is_rejected(monkeypatch):
    _check_mmcv()
    monkeypatch.setattr(mmcv, 'imflip_', lambda image: image)
    monkeypatch.delitem(sys.modules, 'mmaction')
    with pytest.raises(
        ImportError, match=r'mmcv 2\.3\.6 .*: wrong results from imflip_'
    ):
        apply_mmcv_version()


def test_mmcv_that_lacks_a_function_is_rejected(monkeypatch):
    monkeypatch.delattr(mmcv, 'imresize')
    with pytest.raises(ImportError, match=r'imresize.*pip install mmcv-lite==2\.1\.0'):
        _check_mmcv()
