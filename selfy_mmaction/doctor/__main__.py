# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Command line of the doctor."""

import argparse
import platform
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from selfy_mmaction.compat import WORKAROUNDS
from selfy_mmaction.version import __version__

from .check import FAIL, NOT_CHECKED, OK, WARN, Check, Step, perform
from .installed import (
    REQUIREMENTS,
    check_distutils,
    check_mmaction2,
    check_moviepy,
    check_package_bases,
    check_requirement,
    check_torchvision,
)
from .working import (
    check_import,
    check_similarity,
    check_triton,
    check_video,
    check_workaround,
    devices,
)

# Packages that each package imports.
_NEEDS = {
    'cv2': ('numpy',),
    'scipy': ('numpy',),
    'matplotlib': ('numpy',),
    'decord': ('numpy',),
    'mmengine': ('numpy', 'torch', 'matplotlib'),
    'mmcv': ('mmengine', 'cv2', 'PIL'),
}
_MODULES = (
    'mmaction.models',
    'selfy_mmaction.models',
    'selfy_mmaction.datasets',
    'selfy_mmaction.engine',
)


def steps(folder: Path) -> list[Step]:
    """List all checks, in the order in which failures should be fixed.

    Args:
        folder: Folder to which a test video may be written.
    """
    found = [
        Step('python', lambda: Check('python', OK, platform.python_version())),
        Step('selfy_mmaction', lambda: Check('selfy_mmaction', OK, __version__)),
    ]
    for requirement in REQUIREMENTS:
        module = requirement.module
        # A failure that the metadata show does not depend on other packages.
        known = check_requirement(requirement, imported=False)
        needs = () if known.state == FAIL else _NEEDS.get(module, ())
        found.append(Step(module, partial(check_requirement, requirement), needs))
    found += [
        Step('mmaction', check_mmaction2),
        Step('distutils', check_distutils),
        Step('mmaction:: configs', check_package_bases, ('mmengine', 'mmaction')),
        Step('torchvision', check_torchvision, ('torch',)),
        Step('moviepy', check_moviepy),
    ]
    # mmaction2 imports all of these. Each workaround and module may need earlier ones.
    before = (*(requirement.module for requirement in REQUIREMENTS), 'mmaction')
    for name in WORKAROUNDS:
        step = f'workaround {name}'
        found.append(Step(step, partial(check_workaround, name), before))
        before = (step,)
    for module in _MODULES:
        found.append(Step(f'import {module}', partial(check_import, module), before))
        before = (f'import {module}',)
    found.append(
        Step('decord reads a video', partial(check_video, folder), ('cv2', 'decord'))
    )
    for device in devices():
        found.append(_similarity(device, 'torch', ('numpy', 'torch')))
        if device != 'cpu':
            triton = f'triton on {device}'
            found.append(Step(triton, partial(check_triton, device), ('torch',)))
            if find_spec('triton'):
                found.append(_similarity(device, 'triton', (triton,)))
    return found


def _similarity(device: str, backend: str, needs: tuple[str, ...]) -> Step:
    name = f'similarity on {device}, {backend}'
    return Step(name, partial(check_similarity, device, backend), needs)


def diagnose() -> list[Check]:
    """Run all checks on this installation, in the order of :func:`steps`."""
    with tempfile.TemporaryDirectory() as folder:
        return perform(steps(Path(folder)))


def main(argv: Sequence[str] = ()) -> int:
    """Print all results; return 1 if a check failed, else 0."""
    argparse.ArgumentParser(
        prog='python -m selfy_mmaction.doctor',
        description='Check the installed packages, run small parts of them and suggest '
        'fixes. The exit code is 1 if a check failed, else 0.',
    ).parse_args(argv)
    # The checks report the causes of the packages' own warnings.
    warnings.simplefilter('ignore')
    checks = diagnose()
    print(*checks, sep='\n')
    number = Counter(check.state for check in checks)
    summary = (
        f'{number[FAIL]} of {len(checks)} checks failed'
        if number[FAIL]
        else 'All checks passed'
    )
    for state, words in ((NOT_CHECKED, 'not checked'), (WARN, 'with a warning')):
        if number[state]:
            summary += f', {number[state]} {words}'
    print(f'{summary}.')
    return 1 if number[FAIL] else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
