# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The wheel in a new environment, used from a project outside the checkout."""

import re
from collections import defaultdict
from importlib.metadata import requires
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

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


def requirements_of(wheel):
    """Requirements by extra; those of every user by the empty string."""
    lines = ZipFile(wheel).read('selfy_mmaction-0.1.0.dist-info/METADATA').decode()
    found = defaultdict(list)
    for line in lines.splitlines():
        if line.startswith('Requires-Dist: '):
            requirement = Requirement(line.removeprefix('Requires-Dist: '))
            extra = re.search(r'extra == "([\w-]+)"', str(requirement.marker))
            found[extra[1] if extra else ''].append(requirement)
    return found


def test_what_shares_a_folder_is_required_by_extras_only(wheel):
    # Requiring one would break who has the other.
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
def test_decord_only_where_it_has_a_wheel(
    wheel, sys_platform, platform_machine, decoder
):
    here = dict(sys_platform=sys_platform, platform_machine=platform_machine, extra='')
    required = {
        requirement.name
        for requirement in requirements_of(wheel)['']
        if requirement.marker is None or requirement.marker.evaluate(here)
    }
    assert required & {'decord', 'decord2'} == {decoder}
    # mmaction2 requires decord. Where that cannot be had, it is installed without its
    # requirements, so all of them have to be ours.
    assert ('mmaction2' in required) == (decoder == 'decord')
    of_mmaction2 = {
        Requirement(text).name
        for text in requires('mmaction2')
        if 'extra ==' not in text
    }
    assert of_mmaction2 - {'decord'} <= required


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
