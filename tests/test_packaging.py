# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The wheel in a new environment, used from a project outside the checkout."""

from pathlib import Path
from zipfile import ZipFile

import pytest

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


def test_configs_and_tools_travel(wheel):
    names = set(ZipFile(wheel).namelist())
    expected = {
        f'selfy_mmaction/.mim/{path.relative_to(ROOT).as_posix()}'
        for folder in ('configs', 'tools')
        for path in (ROOT / folder).rglob('*')
        if path.suffix in ('.py', '.yml')
    }
    assert expected | {'selfy_mmaction/.mim/model-index.yml'} <= names
    assert not [name for name in names if 'my_motion' in name or 'examples' in name]


def test_neither_mmcv_is_required(wheel):
    # They share one folder: requiring one would break who has the other.
    name = 'selfy_mmaction-0.1.0.dist-info/METADATA'
    lines = ZipFile(wheel).read(name).decode().splitlines()
    required = [line for line in lines if line.startswith('Requires-Dist: mmcv')]
    assert len(required) == 2
    assert all('extra ==' in line for line in required)


def test_installed_package_is_the_wheel(project):
    where = project.python(
        '-c', 'import selfy_mmaction; print(selfy_mmaction.__path__[0])'
    )
    assert where.splitlines()[-1].startswith(str(project.folder))


@pytest.mark.parametrize(
    ('base', 'tool'),
    [
        # Unmodified tools resolve bases before they import anything of ours.
        (f"__import__('selfy_mmaction').__name__ + '{BASE[len('selfy_mmaction') :]}'",
         [tools_folder() / 'analysis_tools' / 'get_flops.py']),
        (f"'{BASE}'", ['-m', 'selfy_mmaction.run', 'get_flops']),
    ],
    ids=['unmodified tool', 'launcher'],
)  # fmt: skip
def test_base_of_a_users_project(project, base, tool):
    config = project.folder / 'mine.py'
    config.write_text(USER_CONFIG.format(base=base))
    output = project.python(*tool, config, '--shape', 8, 3, 64, 64)
    assert 'Flops:' in output
