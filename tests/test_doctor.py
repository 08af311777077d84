# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import os
import subprocess
import sys

import decord
import numpy as np
import pytest

import selfy_mmaction.ops
from selfy_mmaction import doctor
from selfy_mmaction.compat import GAPS
from selfy_mmaction.doctor import (
    REQUIREMENTS,
    Check,
    Requirement,
    check_gap,
    check_import,
    check_mmcv,
    check_opencv,
    check_requirement,
    check_similarity,
    check_triton,
    check_video,
    installed_versions,
)

SETUPTOOLS = "pip install 'setuptools>=77.0.3,<82'"


def requirement(name):
    return next(r for r in REQUIREMENTS if r.name == name)


@pytest.mark.parametrize(
    ('name', 'found', 'fix'),
    [
        ('torch', None, "pip install 'torch>=2.6'"),
        ('torch', '2.5.1+cu121', "pip install 'torch>=2.6'"),
        ('mmaction2', '1.1.0', "pip install 'mmaction2>=1.2.0,<2.0'"),
        ('mmengine', None, "pip install 'mmengine>=0.10.7,<1.0'"),
        ('numpy', '1.9.2', "pip install 'numpy>=1.26'"),
        ('decord', None, "pip install 'decord>=0.6.0'"),
        ('setuptools', None, SETUPTOOLS),
        ('setuptools', '82.0.1', SETUPTOOLS),
        ('setuptools', '82', SETUPTOOLS),
        ('setuptools', '70.1', SETUPTOOLS),
        ('importlib_metadata', None, "pip install 'importlib_metadata'"),
    ],
)
def test_missing_or_wrong_version(name, found, fix):
    versions = {} if found is None else {name: found}
    check = check_requirement(requirement(name), versions)
    assert not check.ok
    assert check.fix == fix
    assert (found or 'not installed') in check.detail


@pytest.mark.parametrize(
    ('name', 'found'),
    [
        ('torch', '2.6.0'),
        ('torch', '2.13.0+cpu'),
        ('mmaction2', '1.2.0'),
        ('mmengine', '0.10.10'),
        ('numpy', '1.26.4'),
        ('setuptools', '81.0.0'),
        ('importlib_metadata', '10.2.0'),
    ],
)
def test_good_version(name, found):
    check = check_requirement(requirement(name), {name: found})
    assert check == Check(name, True, found)


def test_reason_is_given():
    check = check_requirement(Requirement('a', '1', '2', 'b needs it'), {'a': '2.0'})
    assert check.detail == '2.0 is not below 2 (b needs it)'


@pytest.mark.parametrize(
    ('versions', 'fix'),
    [
        ({}, 'pip install mmcv-lite==2.1.0'),
        (
            {'mmcv': '2.1.0', 'mmcv-lite': '2.1.0'},
            'pip uninstall -y mmcv mmcv-lite && pip install mmcv-lite==2.1.0',
        ),
        ({'mmcv': '2.2.0'}, 'pip install mmcv==2.1.0'),
        ({'mmcv-lite': '2.2.0'}, 'pip install mmcv-lite==2.1.0'),
        ({'mmcv': '1.7.2'}, 'pip install mmcv==2.1.0'),
    ],
)
def test_bad_mmcv(versions, fix):
    check = check_mmcv(versions)
    assert not check.ok
    assert check.fix == fix


@pytest.mark.parametrize('name', ['mmcv', 'mmcv-lite'])
def test_good_mmcv(name):
    assert check_mmcv({name: '2.1.0'}) == Check('mmcv', True, f'{name} 2.1.0')


@pytest.mark.parametrize(
    ('versions', 'fix'),
    [
        ({}, 'pip install opencv-python opencv-contrib-python'),
        (
            {'opencv-python': '4.9.0.80', 'opencv-contrib-python': '4.11.0.86'},
            'pip install --force-reinstall --no-deps '
            'opencv-python==4.11.0.86 opencv-contrib-python==4.11.0.86',
        ),
        (
            {'opencv-python': '5.0.0.93'},
            'pip install --force-reinstall --no-deps '
            'opencv-python==5.0.0.93 opencv-contrib-python==5.0.0.93',
        ),
    ],
)
def test_bad_opencv(versions, fix):
    check = check_opencv(versions)
    assert not check.ok
    assert check.fix == fix


def test_good_opencv():
    versions = {'opencv-python': '5.0.0.93', 'opencv-contrib-python': '5.0.0.93'}
    assert check_opencv(versions).ok


def test_installed_versions_are_those_of_the_metadata():
    versions = installed_versions()
    assert versions['numpy'] == np.__version__
    assert 'mmaction2' in versions


def test_gap(monkeypatch):
    monkeypatch.setattr(doctor, 'close_gap', lambda gap: True)
    assert check_gap('x') == Check('gap x', True, 'present, closed')
    monkeypatch.setattr(doctor, 'close_gap', lambda gap: False)
    assert check_gap('x') == Check('gap x', True, 'not present')

    def fail(gap):
        raise RuntimeError('first\nsecond')

    monkeypatch.setattr(doctor, 'close_gap', fail)
    check = check_gap('x')
    assert not check.ok
    assert check.detail == 'RuntimeError: first'


def test_import():
    assert check_import('mmaction.models').ok
    check = check_import('mmaction.none')
    assert not check.ok
    assert check.detail.startswith('ModuleNotFoundError: ')


def test_video(tmp_path):
    assert check_video(tmp_path).ok


def test_video_that_cannot_be_written_or_has_wrong_values(monkeypatch, tmp_path):
    assert not check_video(tmp_path / 'no such folder').ok

    class Black:
        def __init__(self, path):
            self.frames = np.zeros((4, 48, 64, 3), np.uint8)

        def get_batch(self, indices):
            return self

        def asnumpy(self):
            return self.frames

    monkeypatch.setattr(decord, 'VideoReader', Black)
    check = check_video(tmp_path)
    assert not check.ok
    assert check.detail == 'wrote grey [20, 90, 160, 230], read [0. 0. 0. 0.]'
    monkeypatch.setattr(Black, 'asnumpy', lambda self: self.frames[:3])
    check = check_video(tmp_path)
    assert not check.ok
    assert check.detail == 'the frames have shape (3, 48, 64, 3)'


def test_similarity():
    check = check_similarity('cpu')
    assert check.ok, check


@pytest.mark.parametrize('fault', ['zeros', 'nan', 'gradient'])
def test_wrong_similarity_is_noticed(monkeypatch, fault):
    self_similarity = selfy_mmaction.ops.self_similarity

    def faulty(feats, **kwargs):
        values = self_similarity(feats, **kwargs)
        if fault == 'gradient':
            return values.detach() + 0 * values
        return values * (0.0 if fault == 'zeros' else float('nan'))

    monkeypatch.setattr(selfy_mmaction.ops, 'self_similarity', faulty)
    check = check_similarity('cpu')
    assert not check.ok
    assert check.detail.startswith('largest error')


@pytest.mark.parametrize(
    ('reasons', 'installed', 'ok', 'detail'),
    [
        ([], True, True, 'used for the self-similarity'),
        (['not found'], False, True, 'not installed: self-similarity by torch, slower'),
        (['one', 'two'], True, False, 'one; two'),
    ],
)
def test_triton(monkeypatch, reasons, installed, ok, detail):
    monkeypatch.setattr(
        'selfy_mmaction.ops.backends.reasons_against_triton', lambda *args: reasons
    )
    monkeypatch.setattr(doctor, 'find_spec', lambda name: object if installed else None)
    check = check_triton('cuda:3')
    assert (check.name, check.ok, check.detail) == ('triton on cuda:3', ok, detail)
    assert bool(check.fix) == (not ok)


@pytest.mark.parametrize(
    ('ok', 'installed'), [(True, True), (True, False), (False, True)]
)
def test_every_backend_is_tested_on_every_device(monkeypatch, ok, installed):
    monkeypatch.setattr(doctor, '_devices', lambda: ['cpu', 'cuda:0'])
    monkeypatch.setattr(doctor, 'check_triton', lambda device: Check('triton', ok, ''))
    monkeypatch.setattr(doctor, 'find_spec', lambda name: object if installed else None)
    names = [check.name for check in doctor.diagnose()]
    names = [name for name in names if name.startswith('similarity')]
    expected = ['similarity on cpu, torch', 'similarity on cuda:0, torch']
    if ok and installed:
        expected.append('similarity on cuda:0, triton')
    assert names == expected


def test_backend_by_name(monkeypatch):
    self_similarity = selfy_mmaction.ops.self_similarity
    asked_for = []

    def record(feats, backend, **kwargs):
        asked_for.append(backend)
        return self_similarity(feats, **kwargs)

    monkeypatch.setattr(selfy_mmaction.ops, 'self_similarity', record)
    check = check_similarity('cpu', 'triton')
    assert (check.name, check.ok) == ('similarity on cpu, triton', True)
    assert asked_for == ['triton']


def test_device_that_is_not_there():
    check = check_similarity('cuda:99')
    assert not check.ok


def test_main_tells_by_its_exit_code(monkeypatch, capsys):
    good, bad = Check('a', True, 'fine'), Check('b', False, 'broken', 'pip install b')
    monkeypatch.setattr(doctor, 'diagnose', lambda: [good])
    assert doctor.main() == 0
    assert 'All is well.' in capsys.readouterr().out
    monkeypatch.setattr(doctor, 'diagnose', lambda: [good, bad])
    assert doctor.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ['ok', 'a', 'fine']
    assert lines[1].split() == ['FAIL', 'b', 'broken', '->', 'pip', 'install', 'b']
    assert lines[2] == '1 of 2 checks failed.'


def run_doctor(**environment):
    return subprocess.run(
        [sys.executable, '-m', 'selfy_mmaction.doctor'],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_this_install():
    done = run_doctor()
    assert done.returncode == 0, done.stdout + done.stderr
    for gap in GAPS:
        assert f'gap {gap} ' in done.stdout
    assert 'similarity on cpu' in done.stdout


@pytest.mark.parametrize('broken', ['torch', 'mmengine'])
def test_doctor_starts_on_a_broken_install(broken, tmp_path):
    (tmp_path / f'{broken}.py').write_text(f'raise ImportError("no {broken} here")\n')
    path = os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')])
    done = run_doctor(PYTHONPATH=path)
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr
    assert f'ImportError: no {broken} here' in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ['ok', 'python']
    failed = [line for line in lines if line.startswith('FAIL')]
    assert any('import mmaction.models' in line for line in failed)
