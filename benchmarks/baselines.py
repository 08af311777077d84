# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Load ``ops/selfy.py`` of the official code as a baseline."""

import contextlib
import importlib.util
import io
from argparse import Namespace
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import torch
from torch import Tensor, nn

from selfy_mmaction.checkpoints.official import official_name

Forward = Callable[[Tensor], Tensor]


def official(
    args: Namespace, cls: str, dtype: torch.dtype, *channels: int
) -> dict[str, nn.Module]:
    """Build the modules of the official code that the command line selects.

    Args:
        args: The case.
        cls: Name of the class.
        dtype: Data type of the weights.
        channels: Positional arguments of the class.

    Returns:
        Modules on the device, by candidate name. Their ``forward`` raises a
        ``ValueError`` if the official code does not support the case.

    Raises:
        FileNotFoundError: If the official code is missing.
        ImportError: If ``--sampler`` is set and the compiled sampler is missing.
    """
    modules = {}
    for kind in ['fallback'] * bool(args.official) + ['sampler'] * args.sampler:
        code = _load(args, dtype)
        if kind == 'sampler' and not hasattr(code, 'SpatialCorrelationSampler'):
            raise ImportError(
                '--sampler: cannot import the compiled sampler; run '
                '`pip install spatial-correlation-sampler`, which compiles it'
            )
        window = (args.l, args.window, args.window)
        # Hide the message about a missing sampler.
        with contextlib.redirect_stdout(io.StringIO()):
            module = getattr(code, cls)(*channels, num_segments=args.t, window=window)
        for part in module.modules():
            if hasattr(part, 'use_corr_sampler'):
                part.use_corr_sampler = kind == 'sampler'
        name = f'official code, {kind}'
        module.forward = _naming(name, module.forward)
        modules[name] = module.to(args.device, dtype)
    return modules


def _naming(name: str, forward: Forward) -> Forward:
    def named(x: Tensor) -> Tensor:
        try:
            return forward(x)
        except RuntimeError as error:
            raise ValueError(f'{name} does not support this case: {error}') from error

    return named


def _load(args: Namespace, dtype: torch.dtype) -> ModuleType:
    """Execute ``ops/selfy.py``, which imports nothing else from its repository."""
    path = args.official / 'ops' / 'selfy.py'
    if not path.is_file():
        url = 'https://github.com/arunos728/SELFY'
        raise FileNotFoundError(f'--official: {path} not found; pass a clone of {url}')
    spec = importlib.util.spec_from_file_location('official_selfy', path)
    code = importlib.util.module_from_spec(spec)
    with contextlib.redirect_stdout(io.StringIO()):
        spec.loader.exec_module(code)

    # The fallback allocates on CUDA regardless of the input's device.
    def zeros(size: tuple[int, ...], **_) -> Tensor:
        return torch.zeros(size, device=args.device, dtype=dtype)

    code.tr = SimpleNamespace(**{**vars(torch), 'zeros': zeros})
    return code


def copy_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Copy the weights of our block in the official form to the official block."""
    state = theirs.state_dict()
    for name, value in ours.state_dict().items():
        other = official_name('backbone.inserted_blocks.layer2.' + name)
        other = other.removeprefix('base_model.selfy.')
        state[other] = value.reshape(state[other].shape)
    theirs.load_state_dict(state)
