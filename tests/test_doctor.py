# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import os
import subprocess
import sys

import decord
import numpy as np
import pytest

import selfy_mmaction.ops
from selfy_mmaction.compat import WORKAROUNDS
from selfy_mmaction.doctor import __main__ as main_module
from selfy_mmaction.doctor import installed, working
from selfy_mmaction.doctor.check import (
    FAIL,
    NOT_CHECKED,
    OK,
    WARN,
    Check,
    Step,
    perform,
)
from selfy_mmaction.doctor.installed import (
    MMACTION2,
    REQUIREMENTS,
    Requirement,
    check_distutils,
    check_mmaction2,
    check_moviepy,
    check_package_bases,
    check_requirement,
    check_torchvision,
    owners_of,
)
from selfy_mmaction.doctor.working import (
    check_import,
    check_similarity,
    check_triton,
    check_video,
    check_workaround,
)

BY_MODULE = {requirement.module: requirement for requirement in REQUIREMENTS}
SETUPTOOLS = "pip install 'setuptools>=77.0.3,<82'"


@pytest.fixture
def site(monkeypatch, tmp_path):
    """A folder that comes first on ``sys.path``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def add_distribution(site, name, version, module):
    """Write the metadata that pip writes for a package with one folder."""
    folder = site / f'{name.replace("-", "_")}-{version}.dist-info'
    folder.mkdir()
    (folder / 'METADATA').write_text(
        f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n'
    )
    (folder / 'RECORD').write_text(f'{module}/__init__.py,,\n{folder.name}/RECORD,,\n')


@pytest.mark.parametrize(
    ('module', 'name', 'version', 'fix'),
    [
        ('torch', 'torch', '2.5.1+cu121', "pip install 'torch>=2.6'"),
        ('numpy', 'numpy', '1.9.2', "pip install 'numpy>=1.26'"),
        ('mmengine', 'mmengine', '0.9.1', "pip install 'mmengine>=0.10.7,<1.0'"),
        ('mmengine', 'mmengine', '1', "pip install 'mmengine>=0.10.7,<1.0'"),
        ('mmcv', 'mmcv-lite', '1.7.2', "pip install 'mmcv-lite>=2.0.0,<2.2.0'"),
        (
            'mmcv',
            'mmcv-full',
            '1.7.2',
            "pip uninstall -y mmcv-full && pip install 'mmcv-lite>=2.0.0,<2.2.0'",
        ),
        (
            'mmcv',
            'mmcv',
            '3.0.0',
            "pip uninstall -y mmcv && pip install 'mmcv-lite>=2.0.0,<2.2.0'",
        ),
    ],
)
def test_wrong_version(site, module, name, version, fix):
    add_distribution(site, name, version, module)
    check = check_requirement(BY_MODULE[module])
    assert (check.name, check.state, check.fix) == (module, FAIL, fix)
    assert check.detail.startswith(f'{name} {version} is ')


@pytest.mark.parametrize(
    ('module', 'name', 'version'),
    [
        ('torch', 'torch', '2.6.0'),
        ('torch', 'torch', '2.13.0+cpu'),
        ('numpy', 'numpy', '1.26.4'),
        ('mmengine', 'mmengine', '0.10.10'),
        ('mmengine', 'onedl-mmengine', '0.10.12'),
        ('mmcv', 'mmcv-lite', '2.1.0'),
        ('decord', 'decord', '0.6.0'),
        ('decord', 'decord2', '3.4.0'),
        ('decord', 'eva-decord', '0.6.1'),
        ('cv2', 'opencv-python-headless', '5.0.0.93'),
    ],
)
def test_good_version_of_any_distribution(site, module, name, version):
    add_distribution(site, name, version, module)
    expected = Check(module, OK, f'{name} {version}')
    assert check_requirement(BY_MODULE[module]) == expected


def test_missing_package():
    requirement = Requirement('no_such', ('no-such',), '1.0', '2.0', 'some reason')
    assert check_requirement(requirement) == Check(
        'no_such',
        FAIL,
        'not installed (some reason)',
        "pip install 'no-such>=1.0,<2.0'",
    )


@pytest.mark.parametrize(
    ('module', 'found', 'keep'),
    [
        ('mmcv', {'mmcv': '2.1.0', 'mmcv-lite': '2.1.0'}, 'mmcv-lite==2.1.0'),
        ('mmcv', {'onedl-mmcv': '2.3.6', 'mmcv': '2.1.0'}, 'mmcv==2.1.0'),
        (
            'mmengine',
            {'onedl-mmengine': '0.10.12', 'mmengine': '0.10.7'},
            'mmengine==0.10.7',
        ),
        ('decord', {'decord2': '3.4.0', 'decord': '0.6.0'}, 'decord==0.6.0'),
        ('torch', {'torch': '2.13.0+cpu', 'torch-x': '2.13.0'}, 'torch==2.13.0'),
    ],
)
def test_two_owners_of_one_folder(site, module, found, keep):
    for name, version in found.items():
        add_distribution(site, name, version, module)
    check = check_requirement(BY_MODULE[module])
    assert check.state == FAIL
    for name, version in found.items():
        assert f'{name} {version}' in check.detail
    assert f"they overwrite each other's files in the folder {module}" in check.detail
    names, _, again = check.fix.removeprefix('pip uninstall -y ').partition(' && ')
    assert set(names.split()) == set(found)
    build = ''
    if keep == 'mmcv==2.1.0':  # its setup.py needs pkg_resources and torch
        build = "'setuptools>=77.0.3,<82' && pip install --no-build-isolation "
    assert again == f'pip install {build}--no-deps {keep}'


def test_missing_mmcv(site):
    requirement = BY_MODULE['mmcv']._replace(module='no_such_mmcv')
    check = check_requirement(requirement)
    assert check.fix == "pip install 'mmcv-lite>=2.0.0,<2.2.0'"
    assert "--no-build-isolation 'mmcv<2.2'" in check.detail


@pytest.mark.parametrize(
    'third', ['opencv-python-headless', 'opencv-contrib-python-headless']
)
def test_several_opencv_packages(site, third):
    add_distribution(site, 'opencv-python', '4.9.0.80', 'cv2')
    add_distribution(site, 'opencv-contrib-python', '4.9.0.80', 'cv2')
    assert check_requirement(BY_MODULE['cv2']).state == OK
    add_distribution(site, third, '4.11.0.86', 'cv2')
    check = check_requirement(BY_MODULE['cv2'])
    assert check.state == FAIL
    assert f'{third} 4.11.0.86' in check.detail
    assert third in check.fix.split(' && ')[0]
    assert check.fix.endswith(
        'opencv-python==4.11.0.86 opencv-contrib-python==4.11.0.86'
    )


def test_owner_by_top_level_and_by_a_single_file(site):
    add_distribution(site, 'a', '1', 'other')
    (site / 'a-1.dist-info' / 'top_level.txt').write_text('some_module\n')
    add_distribution(site, 'b', '2', 'other')
    (site / 'b-2.dist-info' / 'RECORD').write_text('some_module.py,,\n')
    add_distribution(site, 'c', '3', 'some_module_too')
    assert owners_of('some_module') == {'a': '1', 'b': '2'}


def test_later_entries_of_the_path_are_ignored(site, monkeypatch, tmp_path):
    add_distribution(site, 'mmcv-lite', '2.1.0', 'mmcv')
    other = tmp_path / 'other'
    other.mkdir()
    add_distribution(other, 'mmcv', '2.1.0', 'mmcv')
    monkeypatch.setattr(sys, 'path', [*sys.path, str(other)])
    assert owners_of('mmcv') == {'mmcv-lite': '2.1.0'}


@pytest.mark.parametrize(
    ('name', 'version'), [('onedl-mmcv', '2.3.6'), ('mmcv', '2.2.0')]
)
def test_mmcv_that_only_the_launcher_accepts(site, name, version):
    add_distribution(site, name, version, 'mmcv')
    check = check_requirement(BY_MODULE['mmcv'])
    assert check.state == WARN
    assert check.detail.startswith(f'{name} {version}: mmaction2')
    assert check.fix == 'run them with python -m selfy_mmaction.run'


@pytest.mark.parametrize('folder', [True, False])
def test_folder_that_has_lost_its_files(site, folder):
    # As left when another package with the same folder is uninstalled.
    add_distribution(site, 'lost', '1.0', 'lost_files')
    if folder:
        (site / 'lost_files').mkdir()
    check = check_requirement(Requirement('lost_files', ('lost',)))
    assert check.state == FAIL
    assert 'has lost its files' in check.detail
    assert check.fix == 'pip install --force-reinstall --no-deps lost==1.0'


def test_package_that_does_not_import(site):
    add_distribution(site, 'bad', '1.0+cpu', 'bad_one')
    (site / 'bad_one.py').write_text("raise OSError('libx.so is missing')\n")
    requirement = Requirement('bad_one', ('bad',))
    assert check_requirement(requirement) == Check(
        'bad_one',
        FAIL,
        'bad 1.0+cpu: OSError: libx.so is missing',
        'pip install --force-reinstall --no-deps bad==1.0',
    )
    # Reinstalling it with its requirements installs the missing module.
    (site / 'bad_one.py').write_text('import no_such_module\n')
    assert check_requirement(requirement) == Check(
        'bad_one',
        FAIL,
        "ModuleNotFoundError: No module named 'no_such_module'",
        'pip install bad==1.0',
    )


def test_mmaction2():
    check = check_mmaction2()
    assert (check.name, check.state) == ('mmaction', OK)
    assert check.detail.startswith('mmaction2 1.')


@pytest.mark.parametrize(
    ('runs', 'fix'),
    [
        (True, "pip install 'mmaction2>=1.2.0,<2.0'"),
        (False, "pip install --no-deps 'mmaction2>=1.2.0,<2.0'"),
    ],
)
def test_missing_mmaction2_with_and_without_a_decord_wheel(monkeypatch, runs, fix):
    missing = MMACTION2._replace(module='no_such_module')
    monkeypatch.setattr(installed, 'MMACTION2', missing)
    monkeypatch.setattr(installed, '_DECORD_RUNS', runs)
    check = check_mmaction2()
    assert (check.state, check.fix) == (FAIL, fix)


def test_setuptools_without_pkg_resources_or_distutils(monkeypatch):
    assert check_distutils().state == OK
    assert check_package_bases().state == OK
    monkeypatch.setitem(sys.modules, 'pkg_resources', None)
    check = check_package_bases()
    assert (check.state, check.fix) == (WARN, SETUPTOOLS)
    assert 'pkg_resources' in check.detail
    monkeypatch.setitem(sys.modules, 'distutils.errors', None)
    check = check_distutils()
    assert (check.state, check.fix) == (FAIL, SETUPTOOLS)


def test_torchvision(monkeypatch, site):
    monkeypatch.delitem(sys.modules, 'torchvision', raising=False)
    (site / 'torchvision.py').write_text("__version__ = '0.28.0'\n")
    assert check_torchvision() == Check('torchvision', OK, '0.28.0')
    del sys.modules['torchvision']
    message = 'operator torchvision::nms does not exist'
    # The file size differs, so that cached bytecode is not used.
    (site / 'torchvision.py').write_text(f'raise RuntimeError({message!r})\n')
    check = check_torchvision()
    assert (check.state, check.fix) == (FAIL, 'pip uninstall -y torchvision')
    assert check.detail.startswith(f'RuntimeError: {message}: built for another torch')


def test_missing_torchvision(monkeypatch):
    monkeypatch.setattr(installed, 'find_spec', lambda name: None)
    assert check_torchvision().state == OK


def test_moviepy(monkeypatch, site):
    for name in [name for name in sys.modules if name.startswith('moviepy')]:
        monkeypatch.delitem(sys.modules, name)
    (site / 'moviepy').mkdir()
    (site / 'moviepy' / '__init__.py').touch()
    add_distribution(site, 'moviepy', '2.2.1', 'moviepy')
    check = check_moviepy()
    assert (check.state, check.fix) == (WARN, "pip install 'moviepy<2'")
    assert check.detail.startswith('2.2.1, ModuleNotFoundError: ')
    monkeypatch.delitem(sys.modules, 'moviepy')
    (site / 'moviepy' / 'editor.py').touch()
    assert check_moviepy().state == OK
    monkeypatch.delitem(sys.modules, 'moviepy')
    monkeypatch.delitem(sys.modules, 'moviepy.editor')


def test_missing_moviepy(monkeypatch):
    monkeypatch.setattr(installed, 'find_spec', lambda name: None)
    check = check_moviepy()
    assert check.state == OK
    assert "pip install 'moviepy<2'" in check.detail


def test_one_cause_is_one_failure():
    def step(name, state, *needs):
        return Step(name, lambda: Check(name, state, 'checked'), needs)

    checks = perform(
        [
            step('a', FAIL),
            step('b', WARN),
            step('c', OK, 'a', 'b'),
            step('d', OK, 'b'),
            step('e', FAIL, 'd'),
            step('f', OK, 'c', 'e', 'a'),
        ]
    )
    assert [check.state for check in checks] == [
        FAIL,
        WARN,
        NOT_CHECKED,
        OK,
        FAIL,
        NOT_CHECKED,
    ]
    assert checks[2].detail == 'needs a'
    assert checks[5].detail == 'needs a, e'


def test_workaround(monkeypatch):
    monkeypatch.setattr(working, 'apply_workaround', lambda name: True)
    assert check_workaround('x') == Check('workaround x', OK, 'applied')
    monkeypatch.setattr(working, 'apply_workaround', lambda name: False)
    assert check_workaround('x') == Check('workaround x', OK, 'not needed')

    def fail(name):
        raise RuntimeError('first\nsecond')

    monkeypatch.setattr(working, 'apply_workaround', fail)
    check = check_workaround('x')
    assert check.state == FAIL
    assert check.detail == 'RuntimeError: first'


def test_import():
    assert check_import('mmaction.models').state == OK
    check = check_import('mmaction.none')
    assert check.state == FAIL
    assert check.detail.startswith('ModuleNotFoundError: ')


def test_video(tmp_path):
    assert check_video(tmp_path).state == OK


def test_video_that_cannot_be_written_or_has_wrong_values(monkeypatch, tmp_path):
    assert check_video(tmp_path / 'no such folder').state == FAIL

    class Black:
        def __init__(self, path):
            self.frames = np.zeros((4, 48, 64, 3), np.uint8)

        def get_batch(self, indices):
            return self

        def asnumpy(self):
            return self.frames

    monkeypatch.setattr(decord, 'VideoReader', Black)
    check = check_video(tmp_path)
    assert check.state == FAIL
    assert check.detail == 'wrote gray [20, 90, 160, 230], read [0. 0. 0. 0.]'
    monkeypatch.setattr(Black, 'asnumpy', lambda self: self.frames[:3])
    check = check_video(tmp_path)
    assert check.state == FAIL
    assert check.detail == 'the frames have shape (3, 48, 64, 3)'


def test_similarity():
    check = check_similarity('cpu', 'torch')
    assert check.state == OK, check


@pytest.mark.parametrize('fault', ['zeros', 'nan', 'gradient'])
def test_wrong_similarity_fails(monkeypatch, fault):
    self_similarity = selfy_mmaction.ops.self_similarity

    def faulty(feats, **kwargs):
        values = self_similarity(feats, **kwargs)
        if fault == 'gradient':
            return values.detach() + 0 * values
        return values * (0.0 if fault == 'zeros' else float('nan'))

    monkeypatch.setattr(selfy_mmaction.ops, 'self_similarity', faulty)
    check = check_similarity('cpu', 'torch')
    assert check.state == FAIL
    assert check.detail.startswith('maximum error')


@pytest.mark.parametrize(
    ('reasons', 'installed', 'state', 'detail'),
    [
        ([], True, OK, 'used for the self-similarity'),
        (['none'], False, OK, 'not installed; self-similarity uses torch, slower'),
        (['one', 'two'], True, FAIL, 'one; two'),
    ],
)
def test_triton(monkeypatch, reasons, installed, state, detail):
    monkeypatch.setattr(
        'selfy_mmaction.ops.backends.reasons_against_triton', lambda *args: reasons
    )
    monkeypatch.setattr(
        working, 'find_spec', lambda name: object if installed else None
    )
    check = check_triton('cuda:3')
    assert (check.name, check.state, check.detail) == (
        'triton on cuda:3',
        state,
        detail,
    )
    assert bool(check.fix) == (state == FAIL)


@pytest.mark.parametrize('installed', [True, False])
def test_every_backend_is_tested_on_every_device(monkeypatch, tmp_path, installed):
    monkeypatch.setattr(main_module, 'devices', lambda: ['cpu', 'cuda:0'])
    monkeypatch.setattr(
        main_module, 'find_spec', lambda name: object if installed else None
    )
    needs = {
        step.name: step.needs
        for step in main_module.steps(tmp_path)
        if step.name.startswith('similarity')
    }
    expected = {
        'similarity on cpu, torch': ('numpy', 'torch'),
        'similarity on cuda:0, torch': ('numpy', 'torch'),
    }
    if installed:
        expected['similarity on cuda:0, triton'] = ('triton on cuda:0',)
    assert needs == expected


def test_named_backend_is_checked(monkeypatch):
    self_similarity = selfy_mmaction.ops.self_similarity
    backends = []

    def record(feats, backend, **kwargs):
        backends.append(backend)
        return self_similarity(feats, **kwargs)

    monkeypatch.setattr(selfy_mmaction.ops, 'self_similarity', record)
    check = check_similarity('cpu', 'triton')
    assert (check.name, check.state) == ('similarity on cpu, triton', OK)
    assert backends == ['triton']


def test_missing_device():
    check = check_similarity('cuda:99', 'torch')
    assert check.state == FAIL


def test_failure_in_the_metadata_needs_no_other_check(site):
    needs = {step.name: step.needs for step in main_module.steps(site)}
    assert needs['mmcv'] == ('mmengine', 'cv2', 'PIL')
    for name in ('mmcv', 'mmcv-lite'):
        add_distribution(site, name, '2.1.0', 'mmcv')
    needs = {step.name: step.needs for step in main_module.steps(site)}
    assert needs['mmcv'] == ()
    assert needs['cv2'] == ('numpy',)


def test_exit_code_and_summary(monkeypatch, capsys):
    good, bad = Check('a', OK, 'fine'), Check('b', FAIL, 'broken', 'pip install b')
    odd, left = Check('c', WARN, 'odd'), Check('d', NOT_CHECKED, 'needs b')
    monkeypatch.setattr(main_module, 'diagnose', lambda: [good])
    assert main_module.main() == 0
    assert capsys.readouterr().out.splitlines()[-1] == 'All checks passed.'
    monkeypatch.setattr(main_module, 'diagnose', lambda: [good, odd])
    assert main_module.main() == 0
    summary = capsys.readouterr().out.splitlines()[-1]
    assert summary == 'All checks passed, 1 with a warning.'
    monkeypatch.setattr(main_module, 'diagnose', lambda: [good, bad, odd, left])
    assert main_module.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ['ok', 'a', 'fine']
    assert lines[1].split() == ['FAIL', 'b', 'broken', '->', 'pip', 'install', 'b']
    assert lines[3].split() == ['--', 'd', 'needs', 'b']
    assert lines[4] == '1 of 4 checks failed, 1 not checked, 1 with a warning.'


def run_doctor(**environment):
    return subprocess.run(
        [sys.executable, '-m', 'selfy_mmaction.doctor'],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_this_installation():
    done = run_doctor()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ''
    for name in WORKAROUNDS:
        assert f'workaround {name} ' in done.stdout
    assert 'similarity on cpu' in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize('broken', ['torch', 'mmcv'])
def test_broken_installation_has_one_failure(broken, tmp_path):
    (tmp_path / f'{broken}.py').write_text(f'raise ImportError("no {broken} here")\n')
    path = os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')])
    done = run_doctor(PYTHONPATH=path)
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ['ok', 'python']
    (failed,) = [line for line in lines if line.startswith('FAIL')]
    assert failed.split()[1] == broken
    assert f'ImportError: no {broken} here' in failed
    (models,) = [line for line in lines if 'import mmaction.models' in line]
    assert models.startswith('--')
    similarity = next(line for line in lines if 'similarity on cpu' in line)
    assert similarity.startswith('--' if broken == 'torch' else 'ok')
