# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Checks of installed packages: versions, folder owners and imports."""

import platform
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import distributions
from importlib.util import find_spec
from typing import NamedTuple

from .check import FAIL, OK, WARN, Check, describe

# decord has wheels only for these platforms, and no sdist.
_DECORD_RUNS = (sys.platform, platform.machine()) in (
    ('linux', 'x86_64'),
    ('win32', 'AMD64'),
)
_SETUPTOOLS = "pip install 'setuptools>=77.0.3,<82'"


class Requirement(NamedTuple):
    """A package that must be importable.

    Attributes:
        module: Name of the module to import.
        names: Distributions that provide it, the one to install first. Others may
            provide it, too.
        at_least: Lowest version that works. Default: ''.
        below: Lowest later version that does not work. Default: ''.
        why: Explanation shown if it is missing or has a wrong version. Default: ''.
    """

    module: str
    names: tuple[str, ...]
    at_least: str = ''
    below: str = ''
    why: str = ''

    @property
    def install(self) -> str:
        """Command that installs the package."""
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
    Requirement('safetensors', ('safetensors',), why='reads the packaged network'),
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
        why='reads videos',
    ),
)
MMACTION2 = Requirement('mmaction', ('mmaction2',), '1.2.0', '2.0')


def owners_of(module: str) -> dict[str, str]:
    """Find the distributions whose files are in a package's folder.

    Reads the metadata, because several distributions may install the same folder and
    overwrite each other's files.

    Args:
        module: Name of a top-level package.

    Returns:
        Versions by name, from the first entry of ``sys.path`` that has any.
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
    # No registry has a version like '2.13.0+cpu'.
    return version.partition('+')[0]


def _release(text: str) -> tuple[int, ...]:
    # '2.13.0+cpu' -> (2, 13). Not with `packaging`, which may not be installed.
    numbers = [int(number) for number in re.match(r'\d*(?:\.\d+)*', text)[0].split('.')]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def check_requirement(requirement: Requirement, imported: bool = True) -> Check:
    """Check that a package is installed once, in a working version, and imports.

    Args:
        requirement: The package.
        imported: Whether to import it. Default: True.
    """
    check = _check_requirement(requirement, imported)
    return check._replace(fix=_buildable(check.fix))


def _buildable(command: str) -> str:
    """Add what the full mmcv needs to be built to a command that installs it."""
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
    # mmengine and mmaction2 require one OpenCV package each; their files are equal.
    if len(owners) > 1 and (module != 'cv2' or len(set(owners.values())) > 1):
        return Check(
            module,
            FAIL,
            f"{detail}: they overwrite each other's files in the folder {module}",
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
            f'{detail}: the folder {module} has lost its files, probably because '
            'another package with the same folder was uninstalled',
            reinstall,
        )
    owner, version = next(iter(owners.items()), (names[0], ''))
    if imported:
        try:
            package = import_module(module)
        except ModuleNotFoundError as error:
            # A dependency is missing, which pip installs, too.
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
                f"{detail}: mmaction2's own tools reject {below} and later",
                'run them with python -m selfy_mmaction.run',
            )
        detail = f'{owner} {version} is not below {below}{reason}'
        return Check(module, FAIL, detail, fix)
    return Check(module, OK, detail or f'{version}, without metadata')


def _keep_one(requirement: Requirement, owners: Mapping[str, str]) -> str:
    """Return the command that uninstalls all owners and reinstalls the right one."""
    known = [name for name in requirement.names if name in owners]
    if requirement.module == 'cv2':
        newest = max(owners.values(), key=_release)
        again = ' '.join(f'{name}=={newest}' for name in requirement.names)
    else:
        keep = (known or list(owners))[0]
        again = f'{keep}=={_public(owners[keep])}'
    return f'pip uninstall -y {" ".join(owners)} && pip install --no-deps {again}'


def check_mmaction2() -> Check:
    """Check that mmaction2 is installed in a working version.

    It is imported later, after the workarounds that it needs.
    """
    check = check_requirement(MMACTION2, imported=False)
    if check.state == FAIL and not _DECORD_RUNS:
        # It requires decord, which is not available on this platform.
        return check._replace(fix=check.fix.replace('install', 'install --no-deps'))
    return check


def check_distutils() -> Check:
    """Check that ``distutils`` imports, which Python 3.12 removed."""
    try:
        import_module('distutils.errors')
    except ImportError as error:
        detail = f"{describe(error)}: mmaction2's train.py and test.py import it"
        return Check('distutils', FAIL, detail, _SETUPTOOLS)
    return Check('distutils', OK, 'imports')


def check_package_bases() -> Check:
    """Check that mmengine finds the configs of installed packages.

    OpenMMLab's mmengine needs ``pkg_resources`` for that, which setuptools 82 removed.
    """
    name = 'mmaction:: configs'
    try:
        import_module('mmengine.utils').get_installed_path('mmaction2')
    except Exception as error:
        return Check(
            name,
            WARN,
            f'{describe(error)}: mmaction:: bases (configs/mixing) and mim will not '
            'work',
            _SETUPTOOLS,
        )
    return Check(name, OK, 'found')


def check_torchvision() -> Check:
    """Check that torchvision, if installed, imports."""
    name = 'torchvision'
    if find_spec(name) is None:
        return Check(name, OK, 'not installed (optional)')
    try:
        version = import_module(name).__version__
    except Exception as error:
        return Check(
            name,
            FAIL,
            f"{describe(error)}: built for another torch; mmaction2's train.py and "
            'test.py import it if it is installed',
            'pip uninstall -y torchvision',
        )
    return Check(name, OK, version)


def check_moviepy() -> Check:
    """Check that moviepy, if installed, is a version that mmaction2 can use."""
    name, fix = 'moviepy', "pip install 'moviepy<2'"
    if find_spec(name) is None:
        return Check(
            name, OK, f"not installed; mmaction2's video and GIF output needs it: {fix}"
        )
    detail = ', '.join(owners_of(name).values())
    try:
        import_module('moviepy.editor')
    except Exception as error:
        return Check(
            name,
            WARN,
            f"{detail}, {describe(error)}: mmaction2's video and GIF output will not "
            'work',
            fix,
        )
    return Check(name, OK, detail)
