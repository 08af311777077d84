# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Build the wheel, install it in a new environment and use it from another project."""

import re
import shutil
import subprocess
import sys
import tarfile
from collections import defaultdict
from importlib.metadata import requires
from pathlib import Path
from zipfile import ZipFile

import pytest
from mmengine.fileio import load
from packaging.requirements import Requirement

from contents import differences
from selfy_mmaction import __version__
from selfy_mmaction.compat.package_configs import find_configs
from selfy_mmaction.run import tools_folder

ROOT = Path(__file__).parents[1]
BASE = 'selfy_mmaction::motion/selfy-tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'
USER_CONFIG = """
_base_ = {base}

model = dict(backbone=dict(selfy=dict(block=dict(offsets=(0, 1)))))
"""


@pytest.fixture(scope='module')
def project(make_user_project, tmp_path_factory):
    return make_user_project(tmp_path_factory.mktemp('project'))


def build(what, source, out, before=''):
    """Call the build hook that pip calls (PEP 517, 660); return the file it writes."""
    out.mkdir()
    call = f'build_meta.build_{what}({str(out)!r})'
    done = subprocess.run(
        [sys.executable, '-c', f'{before}\nfrom setuptools import build_meta\n{call}'],
        cwd=source,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (path,) = out.iterdir()
    return path


@pytest.fixture
def own_source(source, tmp_path):
    """A copy of the checkout that a test may change."""
    return shutil.copytree(source, tmp_path / 'source')


@pytest.fixture(scope='module')
def files():
    """What git tracks, or would if it were added."""
    command = ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split('\0') if name and (ROOT / name).exists()]


def test_contents_of_the_wheel(wheel, files):
    assert differences(wheel, files, __version__) == []
    names = set(ZipFile(wheel).namelist())
    expected = {
        f'selfy_mmaction/.mim/{path.relative_to(ROOT).as_posix()}'
        for folder in ('configs', 'tools')
        for path in (ROOT / folder).rglob('*')
        if path.suffix in ('.py', '.yml')
    }
    made = {name for name in names if '/.mim/' in name}
    assert made == expected | {'selfy_mmaction/.mim/model-index.yml'}
    # Type checkers read annotations only from packages with this file.
    assert 'selfy_mmaction/py.typed' in names
    assert 'selfy_mmaction/visualization/page_template.html' in names
    assert not [name for name in names if 'my_motion' in name or 'examples' in name]
    pretrained = ROOT / 'selfy_mmaction' / 'pretrained'
    assert {name for name in names if '/pretrained/' in name} == {
        f'selfy_mmaction/pretrained/{path.name}' for path in pretrained.iterdir()
    }


def test_sdist_builds_the_same_wheel(wheel, files, own_source, tmp_path):
    sdist = build('sdist', own_source, tmp_path / 'sdist')
    assert differences(sdist, files, __version__) == []
    with tarfile.open(sdist) as archive:
        assert not [name for name in archive.getnames() if '.mim' in name]
        archive.extractall(tmp_path / 'unpacked', filter='data')
    (unpacked,) = (tmp_path / 'unpacked').iterdir()
    rebuilt = build('wheel', unpacked, tmp_path / 'wheel')
    assert rebuilt.name == wheel.name
    assert set(ZipFile(rebuilt).namelist()) == set(ZipFile(wheel).namelist())


@pytest.mark.parametrize('before', ['nothing', 'copies', 'text files'])
def test_editable_install_creates_links(before, wheel, own_source, tmp_path):
    mim = own_source / 'selfy_mmaction' / '.mim'
    if before == 'copies':
        shutil.copytree(own_source / 'configs', mim / 'configs')
        (mim / 'configs' / 'old.py').touch()
    elif before == 'text files':  # links as git checks them out on Windows
        mim.mkdir()
        (mim / 'configs').write_text('../../configs')
    build('editable', own_source, tmp_path / 'editable')
    for name in ('configs', 'tools', 'model-index.yml'):
        assert (mim / name).is_symlink()
        assert (mim / name).samefile(own_source / name)
    # A wheel built now still contains copies.
    names = ZipFile(build('wheel', own_source, tmp_path / 'wheel')).namelist()
    assert set(names) == set(ZipFile(wheel).namelist())


def test_editable_install_without_support_for_links(own_source, tmp_path):
    no_links = (
        'import os\n'
        'def symlink(*args, **kwargs):\n'
        "    raise OSError('[WinError 1314] A required privilege is not held')\n"
        'os.symlink = symlink'
    )
    build('editable', own_source, tmp_path / 'editable', before=no_links)
    mim = own_source / 'selfy_mmaction' / '.mim'
    assert not [path for path in mim.rglob('*') if path.is_symlink()]
    runtime = Path('configs', '_base_', 'default_runtime.py')
    assert (mim / runtime).read_text() == (ROOT / runtime).read_text()
    assert (mim / 'model-index.yml').is_file()
    # The copies become outdated, so bases are read from the checkout.
    assert find_configs(own_source / 'selfy_mmaction') == own_source / 'configs'
    build('editable', own_source, tmp_path / 'again')
    assert (mim / 'configs').is_symlink()


def test_versions_agree(wheel):
    assert wheel.name == f'selfy_mmaction-{__version__}-py3-none-any.whl'
    citation = (ROOT / 'CITATION.cff').read_text()
    assert re.search(r'^version: (.+)$', citation, re.MULTILINE)[1] == __version__
    releases = re.findall(
        r'^## \[(\d.*)\] - \d{4}-\d\d-\d\d$',
        (ROOT / 'CHANGELOG.md').read_text(),
        re.MULTILINE,
    )
    assert releases[0] == __version__


def metadata(wheel):
    name = f'selfy_mmaction-{__version__}.dist-info/METADATA'
    return ZipFile(wheel).read(name).decode()


def test_python_versions_of_the_classifiers_are_tested(wheel):
    named = re.findall(r'Classifier: .* :: (3\.\d+)$', metadata(wheel), re.MULTILINE)
    jobs = load(ROOT / '.github' / 'workflows' / 'test.yml')['jobs']
    assert jobs['test']['strategy']['matrix']['python'] == named


def requirements_of(wheel):
    """Return requirements by extra; the empty string has the unconditional ones."""
    found = defaultdict(list)
    for line in metadata(wheel).splitlines():
        if line.startswith('Requires-Dist: '):
            requirement = Requirement(line.removeprefix('Requires-Dist: '))
            extra = re.search(r'extra == "([\w-]+)"', str(requirement.marker))
            found[extra[1] if extra else ''].append(requirement)
    return found


def test_packages_that_share_a_folder_are_required_only_by_extras(wheel):
    # Requiring one would break an environment that has the other.
    shared = {'mmcv', 'mmcv-lite', 'onedl-mmcv', 'mmengine', 'onedl-mmengine'}
    by_extra = {
        extra: shared & {requirement.name for requirement in requirements}
        for extra, requirements in requirements_of(wheel).items()
    }
    assert {extra: names for extra, names in by_extra.items() if names} == {
        'mmcv-lite': {'mmcv-lite', 'mmengine'},
        'mmcv': {'mmcv', 'mmengine'},
        'onedl': {'onedl-mmcv', 'onedl-mmengine'},
    }


@pytest.mark.parametrize(
    ('sys_platform', 'platform_machine', 'decoder'),
    [
        ('linux', 'x86_64', 'decord'),
        ('win32', 'AMD64', 'decord'),
        ('linux', 'aarch64', 'decord2'),
        ('darwin', 'arm64', 'decord2'),
        ('win32', 'ARM64', 'decord2'),
    ],
)
def test_decord_only_if_it_has_a_wheel(wheel, sys_platform, platform_machine, decoder):
    here = dict(sys_platform=sys_platform, platform_machine=platform_machine, extra='')
    required = {
        requirement.name
        for requirement in requirements_of(wheel)['']
        if requirement.marker is None or requirement.marker.evaluate(here)
    }
    assert required & {'decord', 'decord2'} == {decoder}
    # mmaction2 requires decord. If decord has no wheel, mmaction2 is installed without
    # its requirements, so we must require all of them.
    assert ('mmaction2' in required) == (decoder == 'decord')
    of_mmaction2 = {
        Requirement(text).name
        for text in requires('mmaction2')
        if 'extra ==' not in text
    }
    assert of_mmaction2 - {'decord'} <= required


def test_installed_package_is_the_wheel(project):
    output = project.python(
        '-c',
        'import selfy_mmaction\n'
        'from mmengine.hub import get_config\n'
        f'config = get_config({BASE!r}).filename\n'  # may warn
        'print(selfy_mmaction.__path__[0], config, sep=chr(10))',
    )
    package, config = map(Path, output.splitlines()[-2:])
    assert project.folder in package.parents
    assert config == package / '.mim' / BASE.replace('selfy_mmaction::', 'configs/')


@pytest.mark.parametrize(
    ('base', 'tool'),
    [
        # Unmodified tools resolve bases before they import this package.
        (f"__import__('selfy_mmaction').__name__ + '{BASE[len('selfy_mmaction') :]}'",
         [tools_folder() / 'analysis_tools' / 'get_flops.py']),
        (f"'{BASE}'", ['-m', 'selfy_mmaction.run', 'get_flops']),
    ],
    ids=['unmodified tool', 'launcher'],
)  # fmt: skip
@pytest.mark.slow
def test_base_of_a_users_project(project, base, tool):
    config = project.folder / 'mine.py'
    config.write_text(USER_CONFIG.format(base=base))
    output = project.python(*tool, config, '--shape', 8, 3, 64, 64)
    assert 'Flops:' in output


@pytest.mark.slow
def test_own_tools_run_from_the_wheel(project):
    output = project.python('-m', 'selfy_mmaction.run', '--list')
    assert re.search('\n  predict +Predict the actions in videos', output)
    assert '\n  train\n' in output
    output = project.python('-m', 'selfy_mmaction.run', 'predict', '--help')
    assert 'predict.py [-h]' in output
