# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Build and check the release, and try it in empty environments.

    make release-check
    make release-check PYTHONS='3.10 /path/to/python3.13' DIST=dist

Builds the tracked files in a temporary folder, so leftovers of other builds cannot get
into the release. The environments have no access to the checkout and the versions of
``requirements/constraints.txt``. Exit code 0 if everything passed, 1 if a check failed,
2 if the command is wrong.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from contents import PACKAGE, differences
from interpreters import find_interpreters

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / 'requirements' / 'constraints.txt'
CONFIG = '.mim/configs/motion/selfy-tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'
# Lines of a failed command that are shown.
TAIL = 40


class CheckFailedError(Exception):
    """Raised if a check fails. The message says what to do."""


def make_parser() -> argparse.ArgumentParser:
    """Create the parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'pythons',
        nargs='+',
        metavar='PYTHON',
        help='version such as 3.10, found on PATH or among those of pyenv; or the path '
        'of an interpreter',
    )
    parser.add_argument(
        '--dist',
        type=Path,
        help='new or empty folder for sdist and wheel, written after all checks passed '
        '(default: they are deleted)',
    )
    parser.add_argument(
        '--cuda',
        action='store_true',
        help='install the CUDA build of torch if pip prefers it (default: stop)',
    )
    return parser


class Timed:
    """Prints a step, and the seconds that it took or that it failed."""

    def __init__(self, step: str):
        self.step = step

    def __enter__(self) -> None:
        self.start = time.monotonic()
        print(f'  {self.step} ...', end='', flush=True)

    def __exit__(self, kind: type | None, *_: object) -> None:
        seconds = time.monotonic() - self.start
        print(f' {"ok" if kind is None else "FAILED"} ({seconds:.0f} s)', flush=True)


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without access to the checkout.

    Args:
        command: The command and its arguments.
        cwd: Where it is run.

    Returns:
        Its output, with the error output.

    Raises:
        CheckFailedError: If its exit code is not 0; shows the end of the output.
    """
    # Our own variables would change what is tried.
    env = {
        key: value
        for key, value in os.environ.items()
        if key not in ('PYTHONPATH', 'PYTHONHOME') and not key.startswith('SELFY_')
    }
    words = [str(part) for part in command]
    with subprocess.Popen(
        words,
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors='replace',
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate()
        except BaseException:
            # pip and build start processes of their own, which would go on.
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        tail = '\n'.join(output.splitlines()[-TAIL:])
        raise CheckFailedError(
            f'{tail}\nexit code {process.returncode}: {" ".join(words)}'
        )
    return output


def git(*arguments: str) -> list[str]:
    """Run git in the checkout and return its output, separated by null bytes."""
    try:
        done = subprocess.run(
            ['git', *arguments, '-z'],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        raise CheckFailedError('git was not found; install it') from None
    if done.returncode:
        raise CheckFailedError(
            f'{done.stderr.strip()}\nA release is built from a clone: {ROOT} is none'
        )
    return [line for line in done.stdout.split('\0') if line]


def check_dist(folder: Path) -> None:
    """Check before the build that the files can be put into a folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckFailedError(
            f'--dist {folder} exists and is not an empty folder; delete it or name '
            'another'
        )
    parent = folder.absolute().parent
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise CheckFailedError(f'--dist {folder}: {parent} is no writable folder')
    if changed := git('status', '--porcelain'):
        raise CheckFailedError(
            f'--dist {folder}: a release is built from a commit. Commit or stash '
            f'{", ".join(line[3:] for line in changed[:5])}'
        )


def keep(built: Path, dist: Path) -> None:
    """Copy a folder to a new or empty one, completely or not at all.

    Raises:
        CheckFailedError: If it cannot be written, or is no longer empty.
    """
    parent = dist.absolute().parent
    try:
        with tempfile.TemporaryDirectory(prefix=f'.{dist.name}-', dir=parent) as name:
            shutil.copytree(built, Path(name, 'dist')).replace(dist)
    except OSError as error:
        raise CheckFailedError(f'--dist {dist} was not written: {error}') from error


def copy_tracked(folder: Path) -> list[str]:
    """Copy the tracked files as they are in the checkout; return their names."""
    deleted = set(git('ls-files', '--deleted'))
    names = [name for name in git('ls-files') if name not in deleted]
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    return names


def chosen_torch(available: Iterable[str], lock: str, python: str) -> Version | None:
    """Find the version of torch that pip would install.

    Args:
        available: Versions in the indexes, such as ``'2.13.0+cpu'``.
        lock: Text of a constraints file.
        python: Version of Python, such as ``'3.10'``, for the markers.

    Returns:
        The newest that the lock allows, or ``None`` if it allows none of them.
    """
    lines = [line.partition('#')[0].strip() for line in lock.splitlines()]
    allowed = SpecifierSet()
    for each in (Requirement(line) for line in lines if line.startswith('torch')):
        applies = each.marker is None or each.marker.evaluate(
            {'python_version': python}
        )
        if each.name == 'torch' and applies:
            allowed &= each.specifier
    return max((Version(each) for each in allowed.filter(available)), default=None)


def check_torch(python: str, pip: Sequence[str | Path], folder: Path) -> None:
    """Check that pip would install a CPU build of torch, without downloading it.

    Args:
        python: Version of Python, such as ``'3.10'``.
        pip: The command that installs into its environment.
        folder: Temporary folder.

    Raises:
        CheckFailedError: If it would be a CUDA build, or if there is none.
    """
    answer = run(*pip, 'index', 'versions', 'torch', '--json', cwd=folder)
    lines = [line for line in answer.splitlines() if line.startswith('{')]
    available = json.loads(lines[-1])['versions']
    chosen = chosen_torch(available, CONSTRAINTS.read_text(encoding='utf-8'), python)
    if chosen is None:
        raise CheckFailedError(
            f'no index has the torch of {CONSTRAINTS.name} for Python {python}; it has '
            f'{", ".join(available[:5])}'
        )
    # Elsewhere, the builds without a local version are for the CPU.
    if chosen.local != 'cpu' and (chosen.local or sys.platform == 'linux'):
        raise CheckFailedError(
            f'for Python {python}, pip would install torch {chosen}, which on Linux is '
            'the CUDA build, several gigabytes. Name the index of the CPU builds:\n'
            '    export PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu\n'
            'or install it all the same: make release-check CUDA=yes'
        )


def build(folder: Path) -> list[Path]:
    """Build the sdist, and the wheel from it; check metadata and contents.

    Args:
        folder: Temporary folder.

    Returns:
        The sdist and the wheel.

    Raises:
        CheckFailedError: If a check fails.
    """
    source, dist = folder / 'source', folder / 'dist'
    tracked = copy_tracked(source)
    run(sys.executable, '-m', 'build', '--outdir', dist, source, cwd=folder)
    files = sorted(dist.iterdir(), key=lambda path: path.suffix)
    if [path.suffix for path in files] != ['.gz', '.whl']:
        raise CheckFailedError(f'not one sdist and one wheel: {files}')
    run(sys.executable, '-m', 'twine', 'check', '--strict', *files, cwd=folder)
    version = files[1].name.split('-')[1]
    for path in files:
        if wrong := differences(path, tracked, version):
            raise CheckFailedError('\n'.join([f'{path.name}:', *wrong]))
    return files


def try_wheel(
    wheel: Path, pip: Sequence[str | Path], python: Path, folder: Path
) -> None:
    """Install the wheel in an empty environment and use it from an empty folder.

    Args:
        wheel: The wheel.
        pip: The command that installs into the environment.
        python: The environment's interpreter.
        folder: Temporary folder.

    Raises:
        CheckFailedError: If the wheel cannot be installed or something does not work.
    """
    with Timed('install'):
        install = (*pip, 'install', '-c', CONSTRAINTS)
        run(*install, f'{wheel}[mmcv-lite]', cwd=folder)
        # Not a dependency of the package on platforms without a decord wheel:
        # docs/install.md
        run(*install, '--no-deps', 'mmaction2', cwd=folder)
        code = f'import {PACKAGE}; print({PACKAGE}.__path__[0])'
        package = Path(run(python, '-c', code, cwd=folder).splitlines()[-1])
        if python.parents[1] not in package.parents:
            raise CheckFailedError(f'the package is not the installed one: {package}')
    with Timed('doctor'):
        run(python, '-m', f'{PACKAGE}.doctor', cwd=folder)
    launcher = (python, '-m', f'{PACKAGE}.run')
    shape = ('--shape', '8', '3', '64', '64')
    for tool, arguments, answer in (
        ('predict', (), r'sample\.mp4.*%'),
        ('get_flops', (package / CONFIG, *shape), r'Flops: \d'),
    ):
        with Timed(tool):
            output = run(*launcher, tool, *arguments, cwd=folder)
            if not re.search(answer, output, re.DOTALL):
                raise CheckFailedError(f'{output}\n{tool} did not print {answer!r}')


def check(args: argparse.Namespace, pythons: Mapping[str, Path], folder: Path) -> None:
    """Run all checks.

    Args:
        args: The command line.
        pythons: Interpreters by version.
        folder: Temporary folder.

    Raises:
        CheckFailedError: If one fails.
    """
    pips, environments = {}, {}
    print('interpreters', flush=True)
    for version, path in pythons.items():
        with Timed(f'Python {version}: {path}'):
            environments[version] = env = folder / f'env-{version}'
            # The pip of the release tools installs everywhere: an old one does not
            # list versions as JSON.
            run(path, '-m', 'venv', '--without-pip', env, cwd=folder)
            pips[version] = [sys.executable, '-m', 'pip', '--python', env]
            if not args.cuda:
                check_torch(version, pips[version], folder)
    print('sdist and wheel', flush=True)
    with Timed('build, twine check, contents'):
        files = build(folder)
    for version, env in environments.items():
        print(f'wheel on Python {version}', flush=True)
        empty = folder / f'empty-{version}'
        empty.mkdir()
        try_wheel(files[1], pips[version], env / 'bin' / 'python', empty)
        shutil.rmtree(env)  # a gigabyte
    if args.dist:
        keep(folder / 'dist', args.dist)
    for path in files:
        print(f'{args.dist / path.name if args.dist else path.name} passed')


def main() -> None:
    """Run the command line."""
    parser = make_parser()
    args = parser.parse_args()
    names = r"'Programming Language :: Python :: (3\.\d+)'"
    supported = re.findall(names, (ROOT / 'setup.py').read_text(encoding='utf-8'))
    # Removes the temporary folder and ends the running command.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        pythons = find_interpreters(args.pythons, supported)
        if args.dist:
            check_dist(args.dist)
    except (LookupError, CheckFailedError) as error:
        parser.exit(2, f'error: {error.args[0]}\n')
    try:
        # Not below the checkout, where Python would find the package.
        with tempfile.TemporaryDirectory(
            prefix='release-check-', ignore_cleanup_errors=True
        ) as name:
            check(args, pythons, Path(name).resolve())
    except CheckFailedError as error:
        sys.exit(f'\nerror: {error}')
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == '__main__':
    main()
