# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The official code, of which one file is run."""

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
    """Modules of the official code that the command line asks for.

    Args:
        args: The case.
        cls: Name of the class.
        dtype: Of the weights.
        channels: Arguments of the class.

    Returns:
        Modules on the device, by name of the candidate.

    Raises:
        FileNotFoundError: There is no official code.
        ImportError: The compiled sampler is asked for and missing.
        ValueError: In a pass: the official code does not run in this case.
    """
    modules = {}
    for kind in ['fallback'] * bool(args.official) + ['sampler'] * args.sampler:
        code = _load(args, dtype)
        if kind == 'sampler' and not hasattr(code, 'SpatialCorrelationSampler'):
            raise ImportError(
                '--sampler: the compiled sampler cannot be imported; run '
                '`pip install spatial-correlation-sampler`, which compiles it'
            )
        window = (args.l, args.window, args.window)
        with contextlib.redirect_stdout(io.StringIO()):  # about a missing sampler
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
            raise ValueError(f'{name} does not run in this case: {error}') from error

    return named


def _load(args: Namespace, dtype: torch.dtype) -> ModuleType:
    """Run the one file, which imports nothing of the repository around it."""
    path = args.official / 'ops' / 'selfy.py'
    if not path.is_file():
        url = 'https://github.com/arunos728/SELFY'
        raise FileNotFoundError(f'--official: no {path}; give a clone of {url}')
    spec = importlib.util.spec_from_file_location('official_selfy', path)
    code = importlib.util.module_from_spec(spec)
    with contextlib.redirect_stdout(io.StringIO()):
        spec.loader.exec_module(code)

    # Its fallback asks for memory on CUDA, whatever the device.
    def zeros(size: tuple[int, ...], **_) -> Tensor:
        return torch.zeros(size, device=args.device, dtype=dtype)

    code.tr = SimpleNamespace(**{**vars(torch), 'zeros': zeros})
    return code


def copy_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Give the official block the weights of our block in the official form."""
    state = theirs.state_dict()
    for name, value in ours.state_dict().items():
        other = official_name('backbone.inserted_blocks.layer2.' + name)
        other = other.removeprefix('base_model.selfy.')
        state[other] = value.reshape(state[other].shape)
    theirs.load_state_dict(state)
