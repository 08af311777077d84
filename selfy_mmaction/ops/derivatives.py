# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Derivatives that custom operators lack: all but the first backward pass.

Forward-mode differentiation silently treats the result of a custom operator as a
constant; ``torch.func`` transforms and second derivatives fail. Plain PyTorch
operations support them all.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad


def needs_plain_operations() -> bool:
    """Check whether a custom operator would lose a derivative.

    Returns:
        True inside a ``torch.func`` transform and during forward-mode differentiation.
    """
    in_transform = torch._C._are_functorch_transforms_active()
    return in_transform or forward_ad._current_level >= 0


def gradients(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor | None],
    needed: Sequence[bool],
    grad: Tensor,
) -> list[Tensor | None]:
    """Compute differentiable gradients of a function of plain operations.

    Args:
        function: Function of all ``inputs``.
        inputs: Inputs of the forward pass.
        needed: Whether the gradient of each input is needed.
        grad: Gradient of the result.

    Returns:
        One gradient per input, None if it is not needed.
    """
    with torch.enable_grad():
        # Views, because the same tensor may be passed as two inputs.
        views = [None if x is None else x.view_as(x) for x in inputs]
        out = function(*views)
    wanted = [
        x for x, need in zip(views, needed, strict=True) if need and x is not None
    ]
    found = iter(
        torch.autograd.grad(out, wanted, grad, create_graph=torch.is_grad_enabled())
    )
    return [next(found) if need else None for need in needed]
