# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Layer outputs of a network, recorded in a forward pass of a copy."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .layout import FeatureLayout, grouped_axes, parse_layout

# By number of dimensions: the default layout, then others to suggest.
_LAYOUTS = {
    4: ('(n t) c h w', '(n t) h w c'),
    5: ('n c t h w', 'n t h w c', 'n t c h w'),
}
_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_TOKENS = ('n (t h w) c', 'n (h w t) c', '(n t) (h w) c', '(h w) (n t) c')


class Probe(NamedTuple):
    """Record of a forward pass.

    Attributes:
        input_shape: Shape of the input.
        outputs: Outputs by layer, only for layers that were called.
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


def probe(host: nn.Module, layers: Iterable[str], input_shape: Sequence[int]) -> Probe:
    """Run a copy of the host on one clip of zeros.

    Runs on the meta device, which computes only shapes, or on the CPU if the host does
    not support it. The host itself is not changed.

    Args:
        host: Backbone, or network with a ``backbone``; only the backbone is run.
        layers: Names of layers.
        input_shape: Shape of one clip at the input, (T, C, H, W) or (1, C, T, H, W).

    Returns:
        The output of the first call of each layer, on the device used.

    Raises:
        ValueError: If the host does not run on this input.
    """
    layers, input_shape = list(layers), tuple(input_shape)
    failure = None
    for device in ('meta', 'cpu'):
        if failure is not None and not _is_of_meta_device(failure):
            break
        try:
            return _run_copy(host, layers, input_shape, device)
        # The host's code may raise anything; the error is reported below.
        except Exception as error:
            failure = error
    raise ValueError(
        f'{type(_backbone(host)).__name__} does not run on input_shape={input_shape} '
        f'({type(failure).__name__}: {failure}); give the shape of one clip at its '
        'input, (T, 3, H, W) for a 2D network or (1, 3, T, H, W) for a 3D network'
    ) from failure


def find_layout(
    seen: Probe,
    layer: str,
    features: Any,
    pattern: str | None = None,
    sizes: Mapping[str, int] | None = None,
    class_tokens: int | None = None,
) -> FeatureLayout:
    """Complete the layout of a layer's features.

    Args:
        seen: Record of the forward pass.
        layer: Name of the layer, for error messages.
        features: Output of the layer, or the selected part of it.
        pattern: The layout. Default: None, which means '(n t) c h w' for 4-D features
            and 'n c t h w' for 5-D features if the shape is plausible.
        sizes: Sizes of axes in parentheses. Default: None, to take them from the
            outputs of the host's convolutions.
        class_tokens: Number of class tokens. Default: None, to try 0 and 1.

    Returns:
        The layout, with sizes.

    Raises:
        ValueError: If the output is not a feature map, or no unique layout fits.
    """
    saw = f'{layer!r} returns {describe(features)} for an input of {seen.input_shape}'
    if not isinstance(features, Tensor) or features.dim() < 3:
        raise ValueError(f'{saw}, which is not a feature map{_advice(features)}')
    shape = tuple(features.shape)
    if pattern is None:
        default, *others = _LAYOUTS.get(len(shape), (None, *_TOKENS))
        if default is None or not _is_likely(default, shape, seen):
            raise ValueError(
                f'{saw}, whose order of clips, frames, channels, rows and columns is '
                f'ambiguous; give it: dict(after={layer!r}, layout={others[0]!r}, '
                f'...), or {", ".join(map(repr, others[1:]))} or another layout'
            )
        pattern = default
    has_tokens = any({'h', 'w'} <= set(axes) for axes in parse_layout(pattern))
    if class_tokens is None:
        numbers = (0, 1) if has_tokens else (0,)
    else:
        numbers = (class_tokens,)
    fitting = {}
    for option in [sizes] if sizes else _size_options(seen, pattern, shape):
        for number in numbers:
            layout = FeatureLayout(pattern, option, number)
            if _is_one_clip(layout, shape):
                fitting[str(layout)] = layout
    if len(fitting) != 1:
        raise ValueError(
            f'{saw}, which fits {" and ".join(fitting) or "no"} layout={pattern!r}'
            + f' with sizes={dict(sizes or {})}' * bool(sizes)
            + '; give layout, sizes=dict(t=..., h=..., w=...) and class_tokens'
        )
    return fitting.popitem()[1]


def describe(value: Any) -> str:
    """Describe the output of a layer.

    Args:
        value: The output.

    Returns:
        Types, and shapes of tensors.
    """
    if isinstance(value, Tensor):
        return f'a tensor {tuple(value.shape)}'
    if isinstance(value, Mapping):
        parts = [f'{key!r}: {describe(item)}' for key, item in value.items()]
        return f'{type(value).__name__} of {{{", ".join(parts)}}}'
    if isinstance(value, (tuple, list)):
        parts = [f'[{i}] {describe(item)}' for i, item in enumerate(value)]
        return f'{type(value).__name__} of {", ".join(parts)}'
    return repr(value) if isinstance(value, int) else type(value).__name__


def _advice(features: Any) -> str:
    if isinstance(features, Mapping):
        return f'; select one with output=KEY, one of {list(features)}'
    if isinstance(features, (tuple, list)):
        return f'; select one with output=INDEX, one of {list(range(len(features)))}'
    return '; choose an earlier layer'


def _is_likely(pattern: str, shape: tuple[int, ...], seen: Probe) -> bool:
    """Check that there are at most as many frames as in the input, in its aspect ratio.

    This does not guess a layout; it rejects the default if it is implausible.
    """
    *clips, height, width = seen.input_shape
    frames = clips[-1] if len(clips) == 3 else clips[0]
    layout = FeatureLayout(pattern, {'t': shape[0]} if '(n t)' in pattern else None)
    sizes = layout.measure(shape)
    skew = abs(sizes['h'] * width - sizes['w'] * height)
    return (
        sizes['n'] == 1
        and sizes['t'] <= frames
        and sizes['h'] <= height
        and skew <= max(height, width)  # sides are rounded
    )


def _size_options(
    seen: Probe, pattern: str, shape: tuple[int, ...]
) -> list[dict[str, int]]:
    """List possible sizes of the axes in parentheses."""
    grouped = grouped_axes(pattern) - {'n'}
    if grouped <= {'t'} and len(shape) == len(parse_layout(pattern)):
        # The input is one clip, so the dimension of clips and frames has length T.
        return [
            {'t': length}
            for axes, length in zip(parse_layout(pattern), shape, strict=True)
            if len(axes) > 1
        ] or [{}]
    grids = (dict(zip('thw', grid, strict=True)) for grid in sorted(seen.grids))
    return [{axis: grid[axis] for axis in 'thw' if axis in grouped} for grid in grids]


def _is_one_clip(layout: FeatureLayout, shape: tuple[int, ...]) -> bool:
    try:
        return layout.measure(shape)['n'] == 1
    except ValueError:
        return False


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
