# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Checks of what is installed: versions, owners of folders, and whether it imports."""

import platform
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import distributions
from importlib.util import find_spec
from typing import NamedTuple

from .check import FAIL, OK, WARN, Check, describe

# decord has wheels for these only, and no sdist.
_DECORD_RUNS = (sys.platform, platform.machine()) in (
    ('linux', 'x86_64'),
    ('win32', 'AMD64'),
)
_SETUPTOOLS = "pip install 'setuptools>=77.0.3,<82'"


class Requirement(NamedTuple):
    """A package that must be importable.

    Attributes:
        module: The name that is imported.
        names: Distributions that bring it; the first is what to
            install where there is none. Distributions that are not named here may
            bring it, too.
        at_least: Lowest version that works. Default: ''.
        below: Lowest version that works no more. Default: ''.
        why: Said when it is missing or of a wrong version. Default: ''.
    """

    module: str
    names: tuple[str, ...]
    at_least: str = ''
    below: str = ''
    why: str = ''

    @property
    def install(self) -> str:
        """The command that installs it."""
        bounds = [
            sign + bound
            for sign, bound in (('>=', self.at_least), ('<', self.below))
            if bound
        ]
        return f"pip install '{self.names[0]}{','.join(bounds)}'"


REQUIREMENTS = (
    Requirement('numpy', ('numpy',), '1.26'),
    Requirement('torch', ('torch',), '2.6'),
    Requirement('cv2', ('opencv-python', 'opencv-contrib-python')),
    Requirement('scipy', ('scipy',), why='mmaction2 imports it'),
    Requirement('einops', ('einops',), why='mmaction2 imports it'),
    Requirement('matplotlib', ('matplotlib',), why='mmengine imports it'),
    Requirement('PIL', ('Pillow',), why='mmcv imports it'),
    Requirement(
        'importlib_metadata',
        ('importlib_metadata',),
        why='mmaction2 imports it without declaring it',
    ),
    Requirement('mmengine', ('mmengine', 'onedl-mmengine'), '0.10.7', '1.0'),
    Requirement(
        'mmcv',
        ('mmcv-lite', 'mmcv', 'onedl-mmcv'),
        '2.0.0',
        '2.2.0',
        f'for compiled operators instead: {_SETUPTOOLS} torch && pip install '
        "--no-build-isolation 'mmcv<2.2'",
    ),
    Requirement(
        'decord',
        ('decord', 'decord2') if _DECORD_RUNS else ('decord2', 'decord'),
        why='reads the videos',
    ),
)
MMACTION2 = Requirement('mmaction', ('mmaction2',), '1.2.0', '2.0')


def owners_of(module: str) -> dict[str, str]:
    """Find the distributions whose files are in a package's folder.

    Metadata is asked, not names: several distributions may bring one folder, and
    each overwrites the files of the others.

    Args:
        module: Name of a top-level package.

    Returns:
        Version by name, of the first place on ``sys.path`` that has any.
    """
    in_record = re.compile(rf'^{re.escape(module)}[/\\.]', re.MULTILINE)
    found: dict[str, str] = {}
    place = None
    for distribution in distributions():
        top_level = (distribution.read_text('top_level.txt') or '').split()
        record = distribution.read_text('RECORD') or ''
        if module not in top_level and not in_record.search(record):
            continue
        here = distribution.locate_file('')
        place = place or here
        name = distribution.metadata['Name']
        if name and here == place:
            found.setdefault(name, distribution.version)
    return found


def _public(version: str) -> str:
    # '2.13.0+cpu' is in no registry under this name.
    return version.partition('+')[0]


def _release(text: str) -> tuple[int, ...]:
    # '2.13.0+cpu' -> (2, 13). Not `packaging`: it may be what is missing.
    numbers = [int(number) for number in re.match(r'\d*(?:\.\d+)*', text)[0].split('.')]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def check_requirement(requirement: Requirement, imported: bool = True) -> Check:
    """Check that a package is there once, in a version that works, and imports.

    Args:
        requirement: What is needed.
        imported: Whether to import it. Default: True.
    """
    check = _check_requirement(requirement, imported)
    return check._replace(fix=_buildable(check.fix))


def _buildable(command: str) -> str:
    """The command, with what the full mmcv needs to be built."""
    if not re.search(r"(?<![\w-])mmcv(?=[=<>'])", command):
        return command
    build = f'{_SETUPTOOLS} && pip install --no-build-isolation'
    return command.replace('pip install', build)


def _check_requirement(requirement: Requirement, imported: bool) -> Check:
    module, names, at_least, below, why = requirement
    reason = f' ({why})' if why else ''
    owners = owners_of(module)
    spec = find_spec(module)
    if not owners and spec is None:
        return Check(module, FAIL, f'not installed{reason}', requirement.install)
    detail = ', '.join(f'{owner} {version}' for owner, version in owners.items())
    # Both of OpenCV are required, by mmengine and by mmaction2: equal files.
    if len(owners) > 1 and (module != 'cv2' or len(set(owners.values())) > 1):
        return Check(
            module,
            FAIL,
            f'{detail}: they overwrite each other in the folder {module}',
            _keep_one(requirement, owners),
        )
    exact = (
        ' '.join(f'{owner}=={_public(found)}' for owner, found in owners.items())
        or names[0]
    )
    reinstall = f'pip install --force-reinstall --no-deps {exact}'
    # A folder without __init__.py has no origin.
    if spec is None or spec.origin is None:
        return Check(
            module,
            FAIL,
            f'{detail}: the folder {module} has lost its files, as when another '
            'package with the same folder is uninstalled',
            reinstall,
        )
    owner, version = next(iter(owners.items()), (names[0], ''))
    if imported:
        try:
            package = import_module(module)
        except ModuleNotFoundError as error:
            # What it requires is missing; pip looks for that, too.
            return Check(module, FAIL, describe(error), f'pip install {exact}')
        except Exception as error:
            return Check(module, FAIL, f'{detail}: {describe(error)}', reinstall)
        version = version or getattr(package, '__version__', '')
    fix = requirement.install
    if owner.lower() != names[0].lower():
        fix = f'pip uninstall -y {owner} && {fix}'
    if at_least and version and _release(version) < _release(at_least):
        detail = f'{owner} {version} is older than {at_least}{reason}'
        return Check(module, FAIL, detail, fix)
    if below and version and _release(version) >= _release(below):
        if module == 'mmcv' and _release(version) < (3,):
            return Check(
                module,
                WARN,
                f"{detail}: mmaction2's own tools refuse {below} and newer",
                'start them with python -m selfy_mmaction.run',
            )
        detail = f'{owner} {version} is not below {below}{reason}'
        return Check(module, FAIL, detail, fix)
    return Check(module, OK, detail or f'{version}, of no distribution')


def _keep_one(requirement: Requirement, owners: Mapping[str, str]) -> str:
    """Uninstall all and install again what the folder is to have."""
    known = [name for name in requirement.names if name in owners]
    if requirement.module == 'cv2':
        newest = max(owners.values(), key=_release)
        again = ' '.join(f'{name}=={newest}' for name in requirement.names)
    else:
        keep = (known or list(owners))[0]
        again = f'{keep}=={_public(owners[keep])}'
    return f'pip uninstall -y {" ".join(owners)} && pip install --no-deps {again}'


def check_mmaction2() -> Check:
    """Check that mmaction2 is installed in a version that works.

    It is imported later, after the gaps are closed without which it does not
    import.
    """
    check = check_requirement(MMACTION2, imported=False)
    if check.state == FAIL and not _DECORD_RUNS:
        # Its decord cannot be had here.
        return check._replace(fix=check.fix.replace('install', 'install --no-deps'))
    return check


def check_distutils() -> Check:
    """Check that ``distutils`` imports, which Python 3.12 dropped."""
    try:
        import_module('distutils.errors')
    except ImportError as error:
        detail = f"{describe(error)}: mmaction2's train.py and test.py import it"
        return Check('distutils', FAIL, detail, _SETUPTOOLS)
    return Check('distutils', OK, 'imports')


def check_package_bases() -> Check:
    """Check that mmengine finds the configs of installed packages.

    The original one needs ``pkg_resources`` for that, which setuptools 82 dropped.
    """
    name = 'mmaction:: configs'
    try:
        import_module('mmengine.utils').get_installed_path('mmaction2')
    except Exception as error:
        return Check(
            name,
            WARN,
            f'{describe(error)}: no mmaction:: bases (configs/mixing), no mim',
            _SETUPTOOLS,
        )
    return Check(name, OK, 'found')


def check_torchvision() -> Check:
    """Check that torchvision is absent or imports."""
    name = 'torchvision'
    if find_spec(name) is None:
        return Check(name, OK, 'not installed, not needed')
    try:
        version = import_module(name).__version__
    except Exception as error:
        return Check(
            name,
            FAIL,
            f"{describe(error)}: built for another torch; mmaction2's train.py and "
            'test.py import it where it is installed',
            'pip uninstall -y torchvision',
        )
    return Check(name, OK, version)


def check_moviepy() -> Check:
    """Check that moviepy, where it is installed, is one that mmaction2 can use."""
    name, fix = 'moviepy', "pip install 'moviepy<2'"
    if find_spec(name) is None:
        return Check(
            name, OK, f"not installed; video and GIF output of mmaction2's tools: {fix}"
        )
    detail = ', '.join(owners_of(name).values())
    try:
        import_module('moviepy.editor')
    except Exception as error:
        return Check(
            name,
            WARN,
            f"{detail}, {describe(error)}: no video and GIF output of mmaction2's "
            'tools',
            fix,
        )
    return Check(name, OK, detail)
