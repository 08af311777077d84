# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Interpreters for the environments of the release check."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path


def version_of(python: str | Path) -> str | None:
    """Ask an interpreter for its version, such as ``'3.10'``.

    Returns:
        The version, or ``None`` if the file is no working interpreter. One of pyenv's
        shims is none if its version is not selected.
    """
    code = 'import sys; print("%d.%d" % sys.version_info[:2])'
    try:
        done = subprocess.run(
            [python, '-c', code], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = done.stdout.strip()
    return (
        version if not done.returncode and re.fullmatch(r'\d+\.\d+', version) else None
    )


def candidates(version: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """Find files that may be the interpreter of a version.

    Args:
        version: Such as ``'3.10'``.
        environ: ``PATH``, and ``PYENV_ROOT`` or ``HOME``.

    Yields:
        ``pythonVERSION`` in the folders of PATH, then that of pyenv's newest patch.
    """
    for folder in environ.get('PATH', '').split(os.pathsep):
        if found := shutil.which(f'python{version}', path=folder):
            yield Path(found)
    root = environ.get('PYENV_ROOT') or Path(environ.get('HOME', '.'), '.pyenv')
    patches = {
        int(folder.name.rpartition('.')[2]): folder
        for folder in Path(root, 'versions').glob(f'{version}.*')
        if re.fullmatch(r'\d+\.\d+\.\d+', folder.name)
    }
    for _, folder in sorted(patches.items(), reverse=True):
        yield folder / 'bin' / f'python{version}'


def find_interpreters(
    wanted: Sequence[str],
    supported: Iterable[str],
    environ: Mapping[str, str] = os.environ,
) -> dict[str, Path]:
    """Find an interpreter for each version.

    Args:
        wanted: Versions such as ``'3.10'``, or interpreters.
        supported: Versions that the package supports.
        environ: Where to search. Default: this process's environment.

    Returns:
        Interpreters by version, in the order of ``wanted``.

    Raises:
        LookupError: If any was not found or is not supported; names all of them.
    """
    supported = list(supported)
    found: dict[str, Path] = {}
    problems = []
    for each in wanted:
        by_version = re.fullmatch(r'\d+\.\d+', each)
        paths = candidates(each, environ) if by_version else [shutil.which(each)]
        versions = ((path, version_of(path)) for path in paths if path)
        working = (
            (Path(path).absolute(), version)
            for path, version in versions
            if version and (not by_version or version == each)
        )
        path, version = next(working, (None, None))
        if by_version and each not in supported or version and version not in supported:
            problems.append(
                f'Python {version or each} ({each}) is not supported; setup.py names '
                f'{", ".join(supported)}'
            )
        elif path is None and by_version:
            problems.append(
                f'Python {each} was found neither on PATH nor among the versions of '
                f'pyenv. Install it (pyenv install {each}) or name an interpreter '
                'instead of the version: make release-check '
                f'PYTHONS=/PATH/TO/python{each}'
            )
        elif path is None:
            problems.append(
                f'{each} is no working interpreter; expected a version such as 3.10 or '
                'the path of an interpreter'
            )
        elif version in found:
            problems.append(
                f'Python {version} is named twice: {found[version]}, {path}'
            )
        else:
            found[version] = path
    if problems:
        raise LookupError('\n'.join(problems))
    return found
