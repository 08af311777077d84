# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmengine's mixed precision requires an accelerator."""

import functools

import torch
from mmengine.device import get_device
from mmengine.optim.optimizer import amp_optimizer_wrapper


def apply_cpu_amp() -> bool:
    """Make ``AmpOptimWrapper`` (``train.py --amp``) work on CPUs.

    The forward pass runs in bfloat16, mmengine's default for CPUs. The loss scaler is
    torch's CPU scaler rather than a disabled CUDA one, so that its state can be loaded
    from checkpoints written with or without an accelerator.

    Symptom: ``AssertionError: ``AmpOptimizerWrapper`` is only available
    training on gpu, npu, mlu or musa``.

    Upstream: not reported.

    Delete when: the oldest supported mmengine builds an ``AmpOptimWrapper`` if
    ``get_device()`` is ``'cpu'``.
    """
    if get_device() != 'cpu':
        return False
    if amp_optimizer_wrapper.is_cuda_available is _cpu_will_do:
        return False
    # In that module only the assertion uses this name.
    amp_optimizer_wrapper.is_cuda_available = _cpu_will_do
    amp_optimizer_wrapper.GradScaler = functools.partial(torch.amp.GradScaler, 'cpu')
    return True


def _cpu_will_do() -> bool:
    return True
