# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The wheel in a new environment, used from a project outside the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
BASE = 'selfy_mmaction::motion/selfy-tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'
USER_CONFIG = """
_base_ = {base}

model = dict(backbone=dict(selfy=dict(block=dict(offsets=(0, 1)))))
"""
# The user's environment: sees the locked packages, but not this checkout, which an
# editable install shows through a .pth file of its own.
SITE_PACKAGES = sysconfig.get_path('purelib')


def run(*command, cwd) -> str:
    env = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-3000:]
    return result.stdout


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('wheel')
    # Of a copy: a build leaves its folders behind.
    source = folder / 'source'
    ignored = ('.git', '.venv*', 'data', 'work_dirs', 'build', '*.egg-info')
    shutil.copytree(
        ROOT,
        source,
        symlinks=True,
        ignore=lambda path, names: (
            shutil.ignore_patterns(*ignored)(path, names) if Path(path) == ROOT else []
        ),
    )
    command = (sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps')
    run(*command, '--no-build-isolation', '--wheel-dir', folder, source, cwd=folder)
    (path,) = folder.glob('*.whl')
    return path


@pytest.fixture(scope='module')
def project(wheel, tmp_path_factory) -> Path:
    """A folder with an environment that has the wheel, and no checkout in sight."""
    folder = tmp_path_factory.mktemp('project')
    venv.create(folder / 'env', with_pip=False)
    site_packages = next((folder / 'env' / 'lib').glob('python*/site-packages'))
    (site_packages / 'locked.pth').write_text(SITE_PACKAGES)
    command = (sys.executable, '-m', 'pip', '--quiet', 'install', '--no-deps')
    run(*command, '--target', site_packages, wheel, cwd=folder)
    return folder


def test_configs_and_tools_travel(wheel):
    names = set(ZipFile(wheel).namelist())
    expected = {
        f'selfy_mmaction/.mim/{path.relative_to(ROOT).as_posix()}'
        for folder in ('configs', 'tools')
        for path in (ROOT / folder).rglob('*')
        if path.suffix in ('.py', '.yml')
    }
    assert expected | {'selfy_mmaction/.mim/model-index.yml'} <= names


def test_neither_mmcv_is_required(wheel):
    # They share one folder: requiring one would break who has the other.
    name = 'selfy_mmaction-0.1.0.dist-info/METADATA'
    lines = ZipFile(wheel).read(name).decode().splitlines()
    required = [line for line in lines if line.startswith('Requires-Dist: mmcv')]
    assert len(required) == 2
    assert all('extra ==' in line for line in required)


def test_installed_package_is_the_wheel(project):
    where = run(
        project / 'env/bin/python',
        *('-c', 'import selfy_mmaction; print(selfy_mmaction.__path__[0])'),
        cwd=project,
    )
    assert where.splitlines()[-1].startswith(str(project))


@pytest.mark.parametrize(
    ('base', 'launcher'),
    [
        # Unmodified tools resolve bases before they import anything of ours.
        (f"__import__('selfy_mmaction').__name__ + '{BASE[len('selfy_mmaction') :]}'",
         ['.mim/tools/analysis_tools/get_flops.py']),
        (f"'{BASE}'", ['-m', 'selfy_mmaction.run', 'get_flops']),
    ],
    ids=['unmodified tool', 'launcher'],
)  # fmt: skip
def test_base_of_a_users_project(project, base, launcher):
    config = project / 'mine.py'
    config.write_text(USER_CONFIG.format(base=base))
    if launcher[0].startswith('.mim'):
        launcher = [Path(SITE_PACKAGES) / 'mmaction' / launcher[0]]
    output = run(
        project / 'env/bin/python',
        *launcher,
        *(config, '--shape', 8, 3, 64, 64),
        cwd=project,
    )
    assert 'Flops:' in output
