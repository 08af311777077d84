# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import platform
import sys
import tempfile
import warnings
from collections import Counter
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from selfy_mmaction.compat import GAPS
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
    check_gap,
    check_import,
    check_similarity,
    check_triton,
    check_video,
    devices,
)

# What the import of a package needs.
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
    """All checks, in the order in which they are to be fixed.

    Args:
        folder: Where a video may be written.
    """
    found = [
        Step('python', lambda: Check('python', OK, platform.python_version())),
        Step('selfy_mmaction', lambda: Check('selfy_mmaction', OK, __version__)),
    ]
    for requirement in REQUIREMENTS:
        module = requirement.module
        # What its metadata tell is told at once, whatever its import needs.
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
    # All that mmaction2 imports. Each gap and module may need those before it.
    before = (*(requirement.module for requirement in REQUIREMENTS), 'mmaction')
    for gap in GAPS:
        found.append(Step(f'gap {gap}', partial(check_gap, gap), before))
        before = (f'gap {gap}',)
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
    """Results of all checks on this install, in the order of :func:`steps`."""
    with tempfile.TemporaryDirectory() as folder:
        return perform(steps(Path(folder)))


def main() -> int:
    """Print all results; returns 1 if something needed will not work, else 0."""
    # Those of the packages say nothing that the checks do not.
    warnings.simplefilter('ignore')
    checks = diagnose()
    print(*checks, sep='\n')
    number = Counter(check.state for check in checks)
    summary = (
        f'{number[FAIL]} of {len(checks)} checks failed'
        if number[FAIL]
        else 'All is well'
    )
    for state, words in ((NOT_CHECKED, 'not checked'), (WARN, 'with a warning')):
        if number[state]:
            summary += f', {number[state]} {words}'
    print(f'{summary}.')
    return 1 if number[FAIL] else 0


if __name__ == '__main__':
    sys.exit(main())
