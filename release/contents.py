# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The files that the wheel and the sdist must contain, from those that git tracks."""

import tarfile
from collections.abc import Iterable
from pathlib import Path
from zipfile import ZipFile

PACKAGE = 'selfy_mmaction'
#: Folders and files at the root that work only in a clone. Anything else that git
#: tracks is in the sdist, so a new file must be added here or to MANIFEST.in.
CLONE_ONLY = {
    *('.ci', '.github', '.gitignore', '.pre-commit-config.yaml', '.zenodo.json'),
    *('CONTRIBUTING.md', 'Makefile', 'docs', 'release', 'tests'),
}
#: What OpenMMLab's tools read from an installed package.
MIM = {'configs', 'tools', 'model-index.yml'}
# Written by the build.
_DIST_INFO = ('METADATA', 'RECORD', 'WHEEL', 'licenses/LICENSE', 'top_level.txt')
_EGG_INFO = (
    *('PKG-INFO', 'SOURCES.txt', 'dependency_links.txt', 'requires.txt'),
    'top_level.txt',
)


def expected_in_wheel(tracked: Iterable[str], version: str) -> set[str]:
    """Derive the files of the wheel.

    Args:
        tracked: Files in the repository, relative to its root, with slashes.
        version: Version of the package.

    Returns:
        The whole package, the configs and tools in its ``.mim``, and the metadata.
    """
    files = {path: path.split('/')[0] for path in tracked}
    package = {path for path, root in files.items() if root == PACKAGE}
    mim = {f'{PACKAGE}/.mim/{path}' for path, root in files.items() if root in MIM}
    return package | mim | {f'{PACKAGE}-{version}.dist-info/{n}' for n in _DIST_INFO}


def expected_in_sdist(tracked: Iterable[str], version: str) -> set[str]:
    """Derive the files of the sdist: everything but ``CLONE_ONLY``.

    Args:
        tracked: Files in the repository, relative to its root, with slashes.
        version: Version of the package.

    Returns:
        The files, in the folder that the archive unpacks to.
    """
    written = {'PKG-INFO', 'setup.cfg', *(f'{PACKAGE}.egg-info/{n}' for n in _EGG_INFO)}
    kept = {path for path in tracked if path.split('/')[0] not in CLONE_ONLY}
    return {f'{PACKAGE}-{version}/{path}' for path in kept | written}


def files_in(archive: Path) -> set[str]:
    """List the files of a wheel or sdist, without folders."""
    if archive.suffix == '.whl':
        return {name for name in ZipFile(archive).namelist() if name[-1] != '/'}
    with tarfile.open(archive) as tar:
        return {member.name for member in tar.getmembers() if not member.isdir()}


def differences(archive: Path, tracked: Iterable[str], version: str) -> list[str]:
    """Compare the contents of a wheel or sdist with the tracked files.

    Args:
        archive: A ``.whl`` or ``.tar.gz``.
        tracked: Files in the repository, relative to its root, with slashes.
        version: Version of the package.

    Returns:
        One line per missing or unexpected file, with the fix; empty if there is none.
    """
    wheel = archive.suffix == '.whl'
    expected = (expected_in_wheel if wheel else expected_in_sdist)(tracked, version)
    found = files_in(archive)
    add, remove = ('package_data in setup.py', 'setup.py')
    if not wheel:
        add, remove = ('MANIFEST.in or, in contents.py, to CLONE_ONLY', 'MANIFEST.in')
    missing, unexpected = sorted(expected - found), sorted(found - expected)
    return [
        *(f'{name} is missing; add it to {add}' for name in missing),
        *(f'{name} must not be there; see {remove}' for name in unexpected),
    ]
