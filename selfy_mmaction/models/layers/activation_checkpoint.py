# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Activation checkpointing that leaves running statistics alone."""

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def run_with_checkpoint(
    module: nn.Module, function: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    """Run, keep nothing but the input, and run again in the backward pass.

    The second run would update running statistics once more; it does not here, so that
    training is the same with and without. Under ``torch.compile`` nothing is
    checkpointed: the compiler decides itself what to compute twice.

    Args:
        module: What the function runs; its batch norms are looked after.
        function: Of one tensor.
        x: Its argument.

    Returns:
        ``function(x)``.
    """
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return function(x)
    return checkpoint(
        function,
        x,
        use_reentrant=False,
        context_fn=lambda: (contextlib.nullcontext(), _StatisticsKept(module)),
    )


class _StatisticsKept:
    # Entered once for each backward pass of a graph, of which there may be several.
    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __enter__(self) -> None:
        # A momentum of zero, because without running statistics torch keeps other
        # tensors.
        self.norms = [
            (norm, norm.momentum, count, count.clone())
            for norm in self.module.modules()
            if isinstance(norm, _BatchNorm)
            and norm.training
            and norm.track_running_stats
            and (count := norm.num_batches_tracked) is not None
        ]
        for norm, *_ in self.norms:
            norm.momentum = 0.0

    def __exit__(self, *error: object) -> None:
        for norm, momentum, count, count_before in self.norms:
            norm.momentum = momentum
            count.copy_(count_before)
