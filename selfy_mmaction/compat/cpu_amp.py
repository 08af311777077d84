# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmengine's mixed precision needs an accelerator."""

import functools

import torch
from mmengine.device import get_device
from mmengine.optim.optimizer import amp_optimizer_wrapper


def close_cpu_amp() -> bool:
    """Let ``AmpOptimWrapper`` (``train.py --amp``) work on CPUs.

    The forward runs in bfloat16, mmengine's own choice for CPUs. The loss scaler
    is torch's CPU one and not a disabled CUDA one, so that its state moves
    between checkpoints written with and without an accelerator.

    Symptom: ``AssertionError: ``AmpOptimizerWrapper`` is only available
    training on gpu, npu, mlu or musa``.

    Upstream: not reported.

    Delete when: the oldest supported mmengine builds an ``AmpOptimWrapper``
    where ``get_device()`` is ``'cpu'``.
    """
    if get_device() != 'cpu':
        return False
    if amp_optimizer_wrapper.is_cuda_available is _cpu_will_do:
        return False
    # In that module the name is used by the assertion alone.
    amp_optimizer_wrapper.is_cuda_available = _cpu_will_do
    amp_optimizer_wrapper.GradScaler = functools.partial(torch.amp.GradScaler, 'cpu')
    return True


def _cpu_will_do() -> bool:
    return True
