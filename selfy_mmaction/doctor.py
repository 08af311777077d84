# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Tell whether this install will work: ``python -m selfy_mmaction.doctor``.

One line per check, with the command that mends what is wrong. Exits with 1 when
something would fail later. Only the standard library is imported up here, so that
the doctor starts on an install where nothing else does.
"""

import platform
import re
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from .compat import GAPS, close_gap
from .version import __version__


class Check(NamedTuple):
    """Result of one check.

    Attributes:
        name (str): What was looked at.
        ok (bool): Whether everything that needs it will work.
        detail (str): What was found.
        fix (str): The command that mends it. Default: ''.
    """

    name: str
    ok: bool
    detail: str
    fix: str = ''

    def __str__(self) -> str:
        line = f'{"ok" if self.ok else "FAIL":4}  {self.name:32}  {self.detail}'
        return f'{line}  ->  {self.fix}' if self.fix else line


class Requirement(NamedTuple):
    """A distribution that must be there.

    Attributes:
        name (str): Name of the distribution.
        at_least (str): Lowest version that works. Default: ''.
        below (str): Lowest version that works no more. Default: ''.
        why (str): Said when it is missing or of a wrong version. Default: ''.
    """

    name: str
    at_least: str = ''
    below: str = ''
    why: str = ''

    def __str__(self) -> str:
        bounds = [
            sign + bound
            for sign, bound in (('>=', self.at_least), ('<', self.below))
            if bound
        ]
        return self.name + ','.join(bounds)


REQUIREMENTS = (
    Requirement('torch', '2.6'),
    Requirement('mmaction2', '1.2.0', '2.0'),
    Requirement('mmengine', '0.10.7', '1.0'),
    Requirement('numpy', '1.26'),
    Requirement('decord', '0.6.0', why='reads the videos'),
    Requirement(
        'setuptools', '77.0.3', '82', 'mmengine imports pkg_resources, gone in 82'
    ),
    Requirement('importlib_metadata', why='mmaction2 imports it without declaring it'),
)
_MMCV = ('mmcv', 'mmcv-lite')
_OPENCV = ('opencv-python', 'opencv-contrib-python')


def installed_versions() -> dict[str, str]:
    """Read the versions of everything the doctor looks at.

    Returns:
        dict[str, str]: Version by name of the distribution, of those that are
            installed.
    """
    names = (*(requirement.name for requirement in REQUIREMENTS), *_MMCV, *_OPENCV)
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _release(text: str) -> tuple[int, ...]:
    # '2.13.0+cpu' -> (2, 13, 0). Not `packaging`: it may be what is missing.
    return tuple(map(int, re.match(r'\d+(?:\.\d+)*', text)[0].split('.')))


def check_requirement(requirement: Requirement, versions: Mapping[str, str]) -> Check:
    """Check that a distribution is there in a version that works.

    Args:
        requirement (Requirement): What is needed.
        versions (Mapping[str, str]): Version by name of what is installed.

    Returns:
        Check: The result.
    """
    name, at_least, below, why = requirement
    fix = f"pip install '{requirement}'"
    reason = f' ({why})' if why else ''
    if name not in versions:
        return Check(name, False, f'not installed{reason}', fix)
    found = versions[name]
    if at_least and _release(found) < _release(at_least):
        return Check(name, False, f'{found} is older than {at_least}{reason}', fix)
    if below and _release(found) >= _release(below):
        return Check(name, False, f'{found} is not below {below}{reason}', fix)
    return Check(name, True, found)


def check_mmcv(versions: Mapping[str, str]) -> Check:
    """Check that exactly one of mmcv and mmcv-lite is there, and which version.

    Args:
        versions (Mapping[str, str]): Version by name of what is installed.

    Returns:
        Check: The result.
    """
    found = {name: versions[name] for name in _MMCV if name in versions}
    detail = ', '.join(f'{name} {number}' for name, number in found.items())
    if not found:
        return Check('mmcv', False, 'not installed', 'pip install mmcv-lite==2.1.0')
    if len(found) > 1:
        return Check(
            'mmcv',
            False,
            f'{detail}: they overwrite each other, both own the folder mmcv',
            'pip uninstall -y mmcv mmcv-lite && pip install mmcv-lite==2.1.0',
        )
    ((name, number),) = found.items()
    if not (2, 0) <= _release(number) < (2, 2):
        return Check(
            'mmcv',
            False,
            f'{detail}: mmaction2 accepts 2.0 and 2.1 only',
            f'pip install {name}==2.1.0',
        )
    return Check('mmcv', True, detail)


def check_opencv(versions: Mapping[str, str]) -> Check:
    """Check that both distributions of OpenCV are there in the same version.

    Args:
        versions (Mapping[str, str]): Version by name of what is installed.

    Returns:
        Check: The result.
    """
    found = {name: versions[name] for name in _OPENCV if name in versions}
    detail = ', '.join(f'{name} {number}' for name, number in found.items())
    if not found:
        return Check(
            'opencv', False, 'not installed', f'pip install {" ".join(_OPENCV)}'
        )
    newest = max(found.values(), key=_release)
    fix = 'pip install --force-reinstall --no-deps ' + ' '.join(
        f'{name}=={newest}' for name in _OPENCV
    )
    for name, needed_by in zip(_OPENCV, ('mmengine', 'mmaction2'), strict=True):
        if name not in found:
            return Check(
                'opencv', False, f'{detail}: {needed_by} wants {name} too', fix
            )
    if len(set(found.values())) > 1:
        return Check(
            'opencv',
            False,
            f'{detail}: they share the folder cv2 and must have the same version',
            fix,
        )
    return Check('opencv', True, detail)


def check_gap(gap: str) -> Check:
    """Close one of the gaps that ``selfy_mmaction.compat`` knows.

    Args:
        gap (str): Name of the gap.

    Returns:
        Check: Whether it was there and could be closed.
    """
    try:
        closed = close_gap(gap)
    except Exception as error:
        return Check(f'gap {gap}', False, _describe(error), _AFTER_THE_REST)
    return Check(f'gap {gap}', True, 'present, closed' if closed else 'not present')


def check_import(module: str) -> Check:
    """Check that a module imports.

    Args:
        module (str): Dotted name of the module.

    Returns:
        Check: The result.
    """
    try:
        import_module(module)
    except Exception as error:
        return Check(f'import {module}', False, _describe(error), _AFTER_THE_REST)
    return Check(f'import {module}', True, 'imports')


def check_video(folder: Path) -> Check:
    """Check that decord reads a video that OpenCV writes.

    Args:
        folder (Path): Where the video is written.

    Returns:
        Check: Whether number, size and brightness of the frames are right.
    """
    name = 'decord reads a video'
    fix = "pip install --force-reinstall --no-deps 'decord>=0.6.0'"
    # Sides of whole macroblocks: decord cannot batch some others.
    width, height = 64, 48
    grey = [20, 90, 160, 230]
    try:
        import cv2
        import decord
        import numpy as np

        path = str(folder / 'grey.mp4')
        writer = cv2.VideoWriter(
            path, cv2.VideoWriter_fourcc(*'mp4v'), 5, (width, height)
        )
        for value in grey:
            writer.write(np.full((height, width, 3), value, np.uint8))
        writer.release()
        frames = decord.VideoReader(path).get_batch(range(len(grey))).asnumpy()
    except Exception as error:
        return Check(name, False, _describe(error), fix)
    if frames.shape != (len(grey), height, width, 3):
        return Check(name, False, f'the frames have shape {frames.shape}', fix)
    seen = frames.mean(axis=(1, 2, 3))
    if abs(seen - grey).max() > 16:
        return Check(name, False, f'wrote grey {grey}, read {seen.round(1)}', fix)
    return Check(name, True, f'{len(grey)} frames, values right')


def check_triton(device: str) -> Check:
    """Check whether the self-similarity takes its Triton kernels on a GPU.

    Args:
        device (str): ``'cuda:N'``.

    Returns:
        Check: The result. A Triton that is not installed is no failure: pure PyTorch
            does the same, slower.
    """
    name = f'triton on {device}'
    try:
        import torch

        from .ops.backends import reasons_against_triton

        # What the paper's networks have.
        reasons = reasons_against_triton(
            torch.device(device), torch.float16, (128, 14, 14), 5, (9, 9)
        )
    except Exception as error:
        return Check(name, False, _describe(error), _AFTER_THE_REST)
    if not reasons:
        return Check(name, True, 'used for the self-similarity')
    if find_spec('triton') is None:
        return Check(name, True, 'not installed: self-similarity by torch, slower')
    return Check(name, False, '; '.join(reasons), 'pip install --upgrade torch triton')


def check_similarity(device: str, backend: str = 'torch') -> Check:
    """Check values and gradient of the self-similarity on one device.

    The reference is plain loops in double precision on the CPU. A faulty kernel
    trains without any error, only to a lower accuracy.

    Args:
        device (str): ``'cpu'`` or ``'cuda:N'``.
        backend (str): ``'torch'`` or ``'triton'``. Default: 'torch'.

    Returns:
        Check: The result.
    """
    name = f'similarity on {device}, {backend}'
    try:
        import torch

        from .ops import self_similarity, self_similarity_loops

        generator = torch.Generator().manual_seed(0)
        feats = torch.randn(6, 7, 3, 5, generator=generator)
        shape = (2, 3, 3, 5, 3, 3, 5)
        weights = torch.randn(shape, generator=generator)
        window = {'offsets': (-1, 0, 2), 'window': (3, 5), 'num_segments': 3}
        results = []
        for function, where, dtype in (
            (self_similarity_loops, 'cpu', torch.float64),
            (partial(self_similarity, backend=backend), device, torch.float32),
        ):
            leaf = feats.to(where, dtype).requires_grad_()
            values = function(leaf, **window)
            values.backward(weights.to(values))
            results.append(
                [tensor.detach().cpu().double() for tensor in (values, leaf.grad)]
            )
        errors = [
            (right - found).abs().max().item()
            for right, found in zip(*results, strict=True)
        ]
    except Exception as error:
        return Check(name, False, _describe(error), _AFTER_THE_REST)
    detail = f'largest error {errors[0]:.1e}, of the gradient {errors[1]:.1e}'
    # Not `any(error > ...)`: NaN has to fail.
    if not all(error < 1e-4 for error in errors):
        return Check(name, False, detail, 'pip install --force-reinstall torch')
    return Check(name, True, detail)


_AFTER_THE_REST = 'mend the lines above first; report it if none failed'


def _describe(error: Exception) -> str:
    first_line = (str(error).strip() or repr(error)).splitlines()[0]
    return f'{type(error).__name__}: {first_line}'


def _devices() -> list[str]:
    try:
        import torch
    except ImportError:
        return ['cpu']
    return ['cpu', *(f'cuda:{i}' for i in range(torch.cuda.device_count()))]


def diagnose() -> list[Check]:
    """Do all checks on this install.

    Returns:
        list[Check]: The results, in the order in which they are to be mended.
    """
    versions = installed_versions()
    checks = [
        Check('python', True, platform.python_version()),
        Check('selfy_mmaction', True, __version__),
        *(check_requirement(requirement, versions) for requirement in REQUIREMENTS),
        check_mmcv(versions),
        check_opencv(versions),
        *(check_gap(gap) for gap in GAPS),
        check_import('mmaction.models'),
        check_import('selfy_mmaction.models'),
        check_import('selfy_mmaction.datasets'),
        check_import('selfy_mmaction.engine'),
    ]
    with tempfile.TemporaryDirectory() as folder:
        checks.append(check_video(Path(folder)))
    for device in _devices():
        checks.append(check_similarity(device))
        if device != 'cpu':
            triton = check_triton(device)
            checks.append(triton)
            if triton.ok and find_spec('triton'):
                checks.append(check_similarity(device, 'triton'))
    return checks


def main() -> int:
    """Print the results of all checks.

    Returns:
        int: 0 if everything will work, otherwise 1.
    """
    checks = diagnose()
    failed = sum(not check.ok for check in checks)
    print(*checks, sep='\n')
    print(f'{failed} of {len(checks)} checks failed.' if failed else 'All is well.')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
