# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Derivatives that custom operators lack: all but a first backward pass.

To forward-mode differentiation their result is a constant, silently; the transforms of
``torch.func`` and second derivatives fail. Plain operations of torch have them all.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad


def needs_plain_operations() -> bool:
    """Whether a custom operator would lose a derivative here.

    Returns:
        True in a transform of ``torch.func`` and where forward-mode differentiation is
        under way.
    """
    in_transform = torch._C._are_functorch_transforms_active()
    return in_transform or forward_ad._current_level >= 0


def gradients(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor | None],
    needed: Sequence[bool],
    grad: Tensor,
) -> list[Tensor | None]:
    """Gradients of a function of plain operations, for another backward pass.

    Args:
        function: Of all inputs.
        inputs: As the forward pass got them.
        needed: Whether the gradient of each is.
        grad: Gradient of the result.

    Returns:
        A gradient for each input, None where it is not needed.
    """
    with torch.enable_grad():
        # Views, for a tensor may be two of the inputs.
        views = [None if x is None else x.view_as(x) for x in inputs]
        out = function(*views)
    wanted = [
        x for x, need in zip(views, needed, strict=True) if need and x is not None
    ]
    found = iter(
        torch.autograd.grad(out, wanted, grad, create_graph=torch.is_grad_enabled())
    )
    return [next(found) if need else None for need in needed]
