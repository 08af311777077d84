# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import logging
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

import selfy_mmaction  # noqa: F401  registers everything
from selfy_mmaction.motion_benchmark import make_motion

ROOT = Path(__file__).parents[1]


def _set_scope() -> None:
    """Set the scope like ``default_scope = 'mmaction'`` in a config."""
    init_default_scope('mmaction')


# Set for module fixtures and again for each test, because a runner in an earlier test
# may have changed the scope.
_scope_of_module = pytest.fixture(_set_scope, autouse=True, scope='module')
_scope_of_test = pytest.fixture(_set_scope, autouse=True)


@pytest.fixture(autouse=True)
def _reset_compiler():
    # torch.compile makes sizes symbolic if they differed in earlier calls of the same
    # code. Across tests, this would cost minutes of symbolic algebra.
    yield
    if 'torch._dynamo' in sys.modules:
        torch.compiler.reset()


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Collect the messages of mmengine's current logger."""
    messages = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    level = logger.level  # that of the last runner
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def run_script(monkeypatch) -> Callable[..., None]:
    """Run a script like ``python SCRIPT ARGS...``, but in this process."""

    def run(script: Path, *args: object) -> None:
        monkeypatch.setattr(sys, 'argv', [str(script), *map(str, args)])
        runpy.run_path(str(script), run_name='__main__')

    return run


@pytest.fixture(scope='session')
def motion_tiny(tmp_path_factory) -> Path:
    """The smallest motion benchmark: 4 classes, 24 training and 16 test clips."""
    out = tmp_path_factory.mktemp('motion')
    make_motion(out, 'tiny', workers=1)
    return out


def _run(*command, cwd: Path, ok: bool = True) -> str:
    """Run a command without PYTHONPATH and return its output, warnings first."""
    removed = ('PYTHONPATH', 'PYTHONUNBUFFERED')
    env = {key: value for key, value in os.environ.items() if key not in removed}
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert (result.returncode == 0) == ok, result.stdout[-3000:]
    return result.stdout


@pytest.fixture(scope='session')
def source(tmp_path_factory) -> Path:
    """A clean copy of the checkout. Builds need their own copy: they leave folders."""
    source = tmp_path_factory.mktemp('source') / 'checkout'
    at_root = ('.git', '.venv*', '.*_cache', 'data', 'work_dirs', 'build', '*.egg-info')

    def ignored(path: str, names: list[str]) -> set[str]:
        patterns = at_root if Path(path) == ROOT else ('.mim', '__pycache__')
        return shutil.ignore_patterns(*patterns)(path, names)

    shutil.copytree(ROOT, source, ignore=ignored)
    return source


@pytest.fixture(scope='session')
def wheel(source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('wheel')
    copy = shutil.copytree(source, folder / 'source')
    command = (sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps')
    _run(*command, '--no-build-isolation', '--wheel-dir', folder, copy, cwd=folder)
    (path,) = folder.glob('*.whl')
    return path


class UserProject(NamedTuple):
    """Folder with an environment that has the wheel but no access to the checkout."""

    folder: Path

    def python(self, *arguments, ok: bool = True) -> str:
        """Run the environment's interpreter in the folder and return its output."""
        command = (self.folder / 'env' / 'bin' / 'python', *arguments)
        return _run(*command, cwd=self.folder, ok=ok)


@pytest.fixture(scope='session')
def make_user_project(wheel) -> Callable[[Path], UserProject]:
    """Create a user's environment in a folder."""

    def make(folder: Path) -> UserProject:
        venv.create(folder / 'env', with_pip=False)
        site_packages = next((folder / 'env' / 'lib').glob('python*/site-packages'))
        # Expose the locked packages, but not this checkout: Python does not read the
        # .pth files in that folder, such as the one of an editable install. mmengine
        # needs the one of setuptools, as it imports distutils (removed in Python 3.12).
        locked = Path(sysconfig.get_path('purelib'))
        lines = [str(locked)]
        lines += [path.read_text() for path in locked.glob('distutils-precedence.pth')]
        (site_packages / 'locked.pth').write_text('\n'.join(lines))
        command = (sys.executable, '-m', 'pip', '--quiet', 'install', '--no-deps')
        _run(*command, '--target', site_packages, wheel, cwd=folder)
        return UserProject(folder)

    return make
