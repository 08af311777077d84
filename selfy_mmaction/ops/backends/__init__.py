# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Choice of the implementation of Eq. 1: ``torch_backend`` or ``triton_backend``.

Triton is imported when first needed. Its kernels are used on a device only after they
pass a test on it.
"""

import logging
import math
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from ..option_checks import check_choice
from . import torch_backend

BACKENDS = ('auto', 'torch', 'triton')

_logger = logging.getLogger(__name__)

# Limits of the kernels' tiles: channels by dtype, and columns of the window.
_MAX_CHANNELS = {torch.float16: 512, torch.bfloat16: 512, torch.float32: 256}
_MAX_COLUMNS = 17
# Largest error allowed in the self-test, relative to the largest value.
_TOLERANCES = {torch.float16: 1e-2, torch.bfloat16: 1e-2, torch.float32: 1e-5}


def check_backend(name: str) -> str:
    """Check the name of a backend.

    Args:
        name: 'auto', 'torch' or 'triton'.

    Returns:
        The name.

    Raises:
        ValueError: If the name is unknown.

    Example:
        >>> from selfy_mmaction.ops import check_backend
        >>> check_backend('auto')
        'auto'
        >>> check_backend('cuda')
        Traceback (most recent call last):
            ...
        ValueError: backend must be 'auto', 'torch' or 'triton', but got 'cuda'
    """
    return check_choice('backend', name, BACKENDS)


def choose_backend(
    name: str, feats: Tensor, offsets: Sequence[int], window: Sequence[int]
) -> ModuleType:
    """Choose the backend that computes the self-similarity of these features.

    'auto' uses Triton on CUDA devices unless :func:`reasons_against_triton` finds a
    reason not to. The choice is logged once per device and dtype: as a warning if a
    CUDA device cannot use Triton, otherwise as information.

    Args:
        name: 'auto', 'torch' or 'triton'.
        feats: Features, (N*T, C, H, W).
        offsets: Temporal offsets ``l``.
        window: ``(U, V)``.

    Returns:
        The backend module, which has ``forward`` and ``backward``.

    Raises:
        RuntimeError: If 'triton' cannot compute it; lists all reasons.
        ValueError: If the name is unknown.
    """
    return _choose(
        check_backend(name),
        feats.device,
        feats.dtype,
        tuple(feats.shape[1:]),
        len(offsets),
        tuple(window),
    )


# One decision per kind of input; device tests are cached separately. Bounded, because
# feature sizes may keep changing.
@lru_cache(maxsize=128)
def _choose(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    shape: tuple[int, int, int],
    num_offsets: int,
    window: tuple[int, int],
) -> ModuleType:
    if name == 'torch':
        return torch_backend
    if name == 'auto' and device.type != 'cuda':
        _log_once(logging.INFO, f'Computing self-similarity on {device} with torch.')
        return torch_backend
    reasons = reasons_against_triton(device, dtype, shape, num_offsets, window)
    if not reasons:
        if name == 'auto':
            _log_once(
                logging.INFO,
                f'Computing self-similarity on {device} in {dtype} with triton.',
            )
        return import_module('.triton_backend', __package__)
    if name == 'auto':
        _log_once(
            logging.WARNING,
            f'Computing self-similarity on {device} in {dtype} with torch, not the '
            'faster triton: ' + '; '.join(reasons),
        )
        return torch_backend
    raise RuntimeError(
        "backend='triton' cannot compute this self-similarity; use backend='auto' or "
        "'torch'. Reasons: " + '; '.join(reasons)
    )


@cache
def _log_once(level: int, message: str) -> None:
    _logger.log(level, message)


def reasons_against_triton(
    device: torch.device,
    dtype: torch.dtype,
    shape: tuple[int, int, int],
    num_offsets: int,
    window: tuple[int, int],
) -> list[str]:
    """List the reasons why the Triton kernels cannot compute a self-similarity.

    Args:
        device: Device of the features.
        dtype: Dtype of the features.
        shape: (C, H, W).
        num_offsets: ``L``.
        window: ``(U, V)``.

    Returns:
        All reasons; empty if the kernels can be used. If nothing else is wrong, the
        kernels are tested on the device, once per dtype.
    """
    reasons = []
    interpreted = False
    try:
        interpreted = import_module('.triton_backend', __package__).is_interpreted()
    # Not only ImportError: a Triton that does not match the driver or torch fails in
    # other ways.
    except Exception as error:
        reasons.append(
            f'Triton cannot be imported ({type(error).__name__}: {error}); on Linux, '
            'pip install triton'
        )
    if device.type != 'cuda' and not interpreted:
        reasons.append(
            f'the features are on {device}, and Triton needs a CUDA device, or '
            'TRITON_INTERPRET=1 in the environment before it is imported'
        )
    if dtype not in _MAX_CHANNELS:
        reasons.append(f'the features are {dtype}, which the kernels do not support')
    channels, height, width = shape
    if channels > _MAX_CHANNELS.get(dtype, channels):
        reasons.append(
            f'{channels} channels exceed {_MAX_CHANNELS[dtype]}, the maximum in {dtype}'
        )
    if window[1] > _MAX_COLUMNS:
        reasons.append(
            f'a window of {window[1]} columns exceeds {_MAX_COLUMNS}, the maximum of '
            'the kernels'
        )
    values = height * width * num_offsets * math.prod(window)
    if values >= 2**31:
        reasons.append(f'{values} values per frame exceed 2**31 - 1')
    if not reasons:
        reasons += _failures_on(device, dtype)
    return reasons


@cache
def _failures_on(device: torch.device, dtype: torch.dtype) -> tuple[str, ...]:
    """Run the self-test and return a message if the kernels fail, else nothing."""
    try:
        errors = self_test(device, dtype)
    except Exception as error:
        return (f'the kernels fail on {device}: {type(error).__name__}: {error}',)
    # Not `any(error > ...)`: NaN must fail.
    if all(error <= _TOLERANCES[dtype] for error in errors.values()):
        return ()
    figures = ', '.join(f'{name} {error:.1e}' for name, error in errors.items())
    return (
        f'the kernels compute wrong results on {device} in {dtype} (largest relative '
        f'errors: {figures}; tolerance: {_TOLERANCES[dtype]:.0e}). Please report this '
        'with the versions of torch, triton and the driver',
    )


def self_test(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Compare the Triton kernels with pure PyTorch in float64 on the CPU.

    Tests the cosine similarity without keys and the dot product with keys, on small
    features that span several tiles in both directions.

    Args:
        device: Device to run the kernels on.
        dtype: Dtype of the features.

    Returns:
        Largest error per result, relative to the largest value.
    """
    triton_backend = import_module('.triton_backend', __package__)
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    offsets, window, num_segments = (0, -1), (3, 5), 2
    errors = {}
    for similarity in ('cosine', 'dot'):
        feats = draw(num_segments, 20, 5, 18)
        keys = draw(*feats.shape) if similarity == 'dot' else None
        grad = draw(1, num_segments, 5, 18, len(offsets), *window)
        args = (offsets, window, num_segments, 1e-6, similarity)
        results = []
        for module, where in (
            (torch_backend, dict(device='cpu', dtype=torch.float64)),
            (triton_backend, dict(device=device)),
        ):
            inputs = [x if x is None else x.to(**where) for x in (feats, keys)]
            found = (
                module.forward(*inputs, *args),
                *module.backward(grad.to(**where), *inputs, *args),
            )
            results.append([x.double().cpu() for x in found if x is not None])
        names = ('values', 'gradient', 'gradient of the keys')
        for name, right, found in zip(names, *results, strict=False):
            error = (found - right).abs().max() / right.abs().max()
            errors[f'{similarity}: {name}'] = error.item()
    return errors
