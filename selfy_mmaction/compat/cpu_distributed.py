# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmengine's distributed training requires an accelerator."""

import atexit
import logging
from typing import Any
from weakref import WeakSet

import torch
from mmengine.device import get_device
from mmengine.dist import utils as dist_utils
from mmengine.logging import print_log
from mmengine.model.wrappers import MMDistributedDataParallel

_host_init_dist = dist_utils._init_dist_pytorch
_host_init_wrapper = MMDistributedDataParallel.__init__
_wrapped: WeakSet[MMDistributedDataParallel] = WeakSet()


def apply_cpu_distributed() -> bool:
    """Make ``--launcher pytorch`` train and test on CPUs.

    Symptom: ``AttributeError: module 'torch._C' has no attribute
    '_cuda_setDevice'`` (torch for CPUs) or ``RuntimeError: No CUDA GPUs are
    available`` or ``Found no NVIDIA driver on your system`` (torch for GPUs) from
    ``mmengine.dist.init_dist``; once that is fixed,
    ``ValueError: DistributedDataParallel device_ids and output_device arguments
    only work with single-device/multiple-device GPU modules or CPU modules``.

    Upstream: not reported.

    Delete when: the oldest supported mmengine initializes gloo and wraps a model
    without ``device_ids`` if ``get_device()`` is ``'cpu'``.
    """
    if get_device() != 'cpu':
        return False
    if dist_utils._init_dist_pytorch is _init_dist_on_cpu:
        return False
    dist_utils._init_dist_pytorch = _init_dist_on_cpu
    MMDistributedDataParallel.__init__ = _init_wrapper_on_cpu
    return True


def _init_dist_on_cpu(backend: str, init_backend: str = 'torch', **kwargs: Any) -> None:
    if init_backend != 'torch':
        # deepspeed and colossalai do not train on CPUs: let mmengine raise its error.
        _host_init_dist(backend, init_backend=init_backend, **kwargs)
        return
    chosen = 'gloo' if backend == 'nccl' else backend
    torch.distributed.init_process_group(backend=chosen, **kwargs)
    atexit.register(_leave_group)
    # Log only now: mmengine's logger needs the process group to know the rank.
    if chosen != backend and torch.distributed.get_rank() == 0:
        print_log(
            f'No accelerator found: using the distributed backend {chosen!r} instead '
            f'of {backend!r}.',
            logger='current',
            level=logging.WARNING,
        )


def _leave_group() -> None:
    # mmengine never destroys the group. gloo's threads occasionally outlive the
    # interpreter, which aborts a finished process: "terminate called without an active
    # exception". They end with the last reference to the group, and wrapped models
    # hold references.
    for model in _wrapped:
        model.reducer = model.logger = model.process_group = None
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _init_wrapper_on_cpu(
    self: MMDistributedDataParallel,
    module: torch.nn.Module,
    detect_anomalous_params: bool = False,
    **kwargs: Any,
) -> None:
    # The runner sets device_ids to the local rank, with or without a
    # model_wrapper_cfg; torch rejects it for a module on the CPU.
    kwargs.pop('device_ids', None)
    _host_init_wrapper(self, module, detect_anomalous_params, **kwargs)
    _wrapped.add(self)
