# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Interpreters for the environments of the release check."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
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


def find_interpreter(
    wanted: str, supported: Sequence[str], environ: Mapping[str, str]
) -> tuple[str, Path]:
    """Find one interpreter.

    Args:
        wanted: A version such as ``'3.10'``, or an interpreter.
        supported: Versions that the package supports.
        environ: Where to search.

    Returns:
        The version and the interpreter.

    Raises:
        LookupError: If it was not found or its version is not supported.
    """
    if re.fullmatch(r'\d+\.\d+', wanted):
        paths = candidates(wanted, environ)
        version = wanted
        path = next((each for each in paths if version_of(each) == wanted), None)
        problem = (
            f'Python {wanted} was found neither on PATH nor among the versions of '
            f'pyenv. Install it (pyenv install {wanted}) or name an interpreter: '
            f'make release-check PYTHONS=/PATH/TO/python{wanted}'
        )
    else:
        named = shutil.which(wanted, path=environ.get('PATH'))
        path = Path(named).absolute() if named else None
        version = path and version_of(path)
        problem = (
            f'{wanted} is no working interpreter; expected a version such as 3.10 or '
            'the path of an interpreter'
        )
    if version and version not in supported:
        raise LookupError(
            f'Python {version} ({wanted}) is not supported; setup.py names '
            f'{", ".join(supported)}'
        )
    if not (version and path):
        raise LookupError(problem)
    return version, path


def find_interpreters(
    wanted: Sequence[str],
    supported: Sequence[str],
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
        LookupError: If any was not found, is not supported or repeats a version; names
            all of them.
    """
    found: dict[str, Path] = {}
    problems = []
    for each in wanted:
        try:
            version, path = find_interpreter(each, supported, environ)
        except LookupError as error:
            problems.append(error.args[0])
            continue
        if version in found:
            problems.append(
                f'Python {version} is named twice: {found[version]} and {path}'
            )
        found[version] = path
    if problems:
        raise LookupError('\n'.join(problems))
    return found
