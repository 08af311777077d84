# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Activation checkpointing that does not update running statistics twice."""

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def run_with_checkpoint(
    module: nn.Module, function: Callable[[Tensor], Tensor], x: Tensor
) -> Tensor:
    """Run a function with activation checkpointing.

    Only the input is kept, and the function runs again in the backward pass. The second
    run does not update running statistics, so training is the same as without
    checkpointing. Under ``torch.compile``, nothing is checkpointed: the compiler itself
    decides what to recompute.

    Args:
        module: Module that the function runs; its batch norms are protected.
        function: Function of one tensor.
        x: Argument of the function.

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
    # Entered once per backward pass; a graph may have several.
    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __enter__(self) -> None:
        # Use zero momentum instead of disabling running statistics, because without
        # them torch would save different tensors than in the first run.
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
