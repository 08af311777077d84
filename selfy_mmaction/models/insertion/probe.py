# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Layer outputs of a network, recorded in a forward pass of a copy."""

import copy
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)


class Probe(NamedTuple):
    """Record of a forward pass.

    Attributes:
        input_shape: Shape of the input.
        outputs: Outputs by layer.
        grids: Sizes (t, h, w) of the outputs of all convolutions.
        multiply_adds: Multiply-adds of the forward pass.
    """

    input_shape: tuple[int, ...]
    outputs: dict[str, Any]
    grids: set[tuple[int, int, int]]
    multiply_adds: int


def default_input_shape(
    host: nn.Module, num_segments: int | None = None
) -> tuple[int, ...]:
    """Return the shape of one clip for a 2D network, at mmaction2's 224x224 pixels.

    Args:
        host: Backbone, or network with a ``backbone``.
        num_segments: T, if the host has no ``num_segments``. Default: None.

    Returns:
        (T, C, 224, 224).

    Raises:
        ValueError: If the host is not a 2D network, or T is unknown.
    """
    network = _backbone(host)
    convolutions = (m for m in network.modules() if isinstance(m, _CONVOLUTIONS))
    first = next(convolutions, None)
    num_segments = getattr(network, 'num_segments', num_segments)
    if not isinstance(first, nn.Conv2d) or num_segments is None:
        raise ValueError(
            f'the input shape of {type(network).__name__} is unknown; give '
            'input_shape, the shape of one clip at its input: (T, 3, H, W) for a 2D '
            'network, such as (8, 3, 224, 224), or (1, 3, T, H, W) for a 3D network, '
            'such as (1, 3, 32, 224, 224)'
        )
    return (num_segments, first.in_channels, 224, 224)


def probe(
    host: nn.Module,
    layers: Iterable[str],
    input_shape: Sequence[int] | None = None,
    num_segments: int | None = None,
) -> Probe:
    """Run a copy of the host on one clip of zeros.

    Runs on the meta device, which computes only shapes, or on the CPU if the host does
    not support it. The host itself is not changed.

    Args:
        host: Backbone, or network with a ``backbone``; only the backbone is run.
        layers: Names of layers.
        input_shape: Shape of one clip at the input, (T, C, H, W) or (1, C, T, H, W).
            Default: None, that of :func:`default_input_shape`.
        num_segments: As for :func:`default_input_shape`. Default: None.

    Returns:
        The output of the first call of each layer, on the device used.

    Raises:
        ValueError: If the host does not run on this input, or does not call a layer.
    """
    if input_shape is None:
        input_shape = default_input_shape(host, num_segments)
    layers, input_shape = list(layers), tuple(input_shape)
    try:
        seen = _run_copy(host, layers, input_shape, 'meta')
    # The host's code may raise anything; the error is reported.
    except Exception as error:
        if not _is_of_meta_device(error):
            raise _cannot_run(host, input_shape, error) from error
        try:
            seen = _run_copy(host, layers, input_shape, 'cpu')
        except Exception as error:
            raise _cannot_run(host, input_shape, error) from error
    for name in layers:
        if name not in seen.outputs:
            raise ValueError(
                f'{name!r} ({type(host.get_submodule(name)).__name__}) was not called '
                'in the forward pass; choose a layer inside or after it'
            )
    return seen


def _cannot_run(
    host: nn.Module, input_shape: tuple[int, ...], error: Exception
) -> ValueError:
    return ValueError(
        f'{type(_backbone(host)).__name__} does not run on input_shape={input_shape} '
        f'({type(error).__name__}: {error}); give the shape of one clip at its '
        'input, (T, 3, H, W) for a 2D network or (1, 3, T, H, W) for a 3D network'
    )


def _run_copy(
    host: nn.Module, layers: list[str], input_shape: tuple[int, ...], device: str
) -> Probe:
    tensors = list(chain(host.parameters(), host.buffers()))
    # With this memo, deepcopy uses the moved tensors instead of copying the weights.
    copied = copy.deepcopy(host, {id(x): x.detach().to(device) for x in tensors})
    copied.eval()
    outputs: dict[str, Any] = {}
    grids: set[tuple[int, int, int]] = set()

    def keep(name: str) -> Callable:
        def hook(layer: nn.Module, args: tuple, output: Any) -> None:
            outputs.setdefault(name, output)

        return hook

    def keep_grid(layer: nn.Module, args: tuple, output: Tensor) -> None:
        frames = output.size(2) if output.dim() == 5 else output.size(0)
        height, width = output.shape[-2:]
        grids.add((frames, height, width))

    modules = dict(copied.named_modules())
    for name in layers:
        modules[name].register_forward_hook(keep(name))
    for module in modules.values():
        if isinstance(module, _CONVOLUTIONS):
            module.register_forward_hook(keep_grid)
    dtype = next((x.dtype for x in tensors if x.is_floating_point()), None)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        _backbone(copied)(torch.zeros(input_shape, device=device, dtype=dtype))
    return Probe(input_shape, outputs, grids, counter.get_total_flops() // 2)


def _is_of_meta_device(error: Exception) -> bool:
    return isinstance(error, NotImplementedError) or 'meta' in str(error).lower()


def _backbone(host: nn.Module) -> nn.Module:
    return getattr(host, 'backbone', host)
