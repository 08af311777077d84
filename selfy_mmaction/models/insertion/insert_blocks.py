# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Insertion of blocks after named layers of any network.

A block is called on the layer's output by a forward hook, so the host's code and
the keys of its ``state_dict`` stay as they are; its parameters live in
``host.inserted_blocks``.
"""

import logging
from collections.abc import Hashable, Mapping, Sequence
from difflib import get_close_matches
from math import log
from typing import Any, cast

from mmaction.registry import MODELS
from mmengine.logging import print_log
from torch import nn

from selfy_mmaction.models.layers.building import build
from selfy_mmaction.models.selfy.reduction import SCALES
from selfy_mmaction.ops import check_bool

from .host import HostOfBlocks, add_block
from .layout import FeatureLayout, find_layout
from .probe import Probe, probe

Config = dict[str, Any]

_KEYS = ('after', 'block', 'new', 'layout', 'sizes', 'class_tokens', 'output')


@MODELS.register_module(name='InsertBlocks')
def build_with_blocks(
    backbone: Config,
    blocks: Sequence[Config],
    input_shape: Sequence[int] | None = None,
) -> nn.Module:
    """Build a network and insert blocks: ``type='InsertBlocks'`` in a config.

    What is built is the network itself, not a wrapper.

    Args:
        backbone: Config of any backbone, or of a whole recognizer.
        blocks: As for :func:`insert_blocks`.
        input_shape: As for :func:`insert_blocks`. Default: None.

    Returns:
        The network.

    Raises:
        ValueError: As :func:`insert_blocks`, or a backbone of another library, which
            the recognizer has to build itself.

    Example:
        >>> backbone = dict(
        ...     type='InsertBlocks',
        ...     backbone=dict(type='MobileNetV2TSM', num_segments=8),
        ...     blocks=[dict(after='layer3', block=dict(type='SELFYBlock'))],
        ... )
    """
    name = backbone['type']
    libraries = ('mmcls.', 'mmpretrain.', 'torchvision.', 'timm.')
    if isinstance(name, str) and name.startswith(libraries):
        raise ValueError(
            f'the recognizer itself has to build {name!r} to know how to call it; put '
            "InsertBlocks around the recognizer: model=dict(type='InsertBlocks', "
            "backbone=dict(type='Recognizer2D', ...), blocks=[dict(after="
            "'backbone.LAYER', ...)])"
        )
    host = MODELS.build(backbone)
    insert_blocks(host, blocks, input_shape)
    return host


def insert_blocks(
    host: nn.Module,
    blocks: Sequence[Config],
    input_shape: Sequence[int] | None = None,
) -> list[FeatureLayout]:
    """Run blocks on the outputs of layers.

    What is not given is found by one forward pass of a copy, and logged.

    Args:
        host: The network: a backbone, or a recognizer.
        blocks: One dict for each block.

            - after: Name of the layer, as in ``host.named_modules()``.
            - block: Module, or its config. A block is built with ``in_channels``,
              ``num_segments`` and ``scale`` of the layer, the scale such that the grid
              is nearest to 14x14; it starts as the identity, also where features are
              negative (``fusion=dict(relu='none')``, ``zero_init_last_norm=True``).
              All that, as far as the block has such arguments and its config does not
              say otherwise. Default: ``dict(type='SELFYBlock')``.
            - new: Whether a training may start from a checkpoint without the block's
              weights; see :class:`~selfy_mmaction.engine.CheckpointCheckHook`.
              Default: False.
            - layout, sizes, class_tokens: As for :class:`FeatureLayout`. Default:
              '(n t) c h w' for features of four dimensions, 'n c t h w' for five; any
              other layout has to be given. Sizes and class tokens are found.
            - output: Index or key, where the layer gives several tensors.
              Default: None, the output is the feature.
        input_shape: Shape of one clip at the backbone's input, (T, C, H, W) for
            networks of frames and (1, C, T, H, W) for networks of clips. Default: None,
            (num_segments, 3, 224, 224) where host or blocks say ``num_segments``.

    Returns:
        The layout of the features at each block.

    Raises:
        TypeError: As :func:`insert_block`.
        ValueError: Unknown keys or layers, an output that is no feature map, or
            something that the pass did not show for certain.
    """
    if not isinstance(blocks, Sequence) or not blocks:
        raise ValueError(
            "blocks must be a list of at least one, such as [dict(after='LAYER')], but "
            f'got {blocks!r}; without blocks, use the network as it is'
        )
    for spec in blocks:
        if not isinstance(spec, Mapping) or not {'after'} <= set(spec) <= set(_KEYS):
            raise ValueError(
                "a block is dict(after='LAYER', block=dict(type=...)) with the keys "
                f'{_KEYS}, but got {spec!r}'
            )
        _check_place(host, spec['after'])
        check_bool('new', spec.get('new', False))
    layers = [spec['after'] for spec in blocks]
    seen = probe(host, layers, input_shape, _num_segments(blocks))
    # All that may fail before the host is changed.
    ready = [_prepare(host, spec, seen) for spec in blocks]
    for spec, (block, layout) in zip(blocks, ready, strict=True):
        options = spec.get('output'), spec.get('new', False)
        add_block(host, spec['after'], block, layout, *options)
        if 't' in layout.sizes:
            frames = seen.input_shape[2 if len(seen.input_shape) == 5 else 0]
            host = cast(HostOfBlocks, host)
            host.clip_lengths = {**host.clip_lengths, spec['after']: frames}
    return [layout for _, layout in ready]


def insert_block(
    host: nn.Module,
    after: str,
    block: nn.Module,
    layout: FeatureLayout | None = None,
    output: Hashable | None = None,
    new: bool = False,
) -> None:
    """Run a block on the output of a layer.

    The host becomes an instance of a class of the same name, derived from its own and
    :class:`HostOfBlocks`.

    Args:
        host: The network. The block becomes ``host.inserted_blocks[after]`` (dots
            of nested names replaced by dashes).
        after: Name of the layer, as in ``host.named_modules()``.
        block: Module from features to features of the same shape.
        layout: Layout of the features. The block gets them as (N*T, C, H, W), and T
            as ``num_segments`` if its ``forward`` has such an argument.
            Default: None, the block gets the features as they are.
        output: Index or key, where the layer gives several. Default: None.
        new: Whether a training may start from a checkpoint without the block's weights.
            Default: False.

    Raises:
        TypeError: The host is an ``nn.Sequential``, which would run the block a second
            time as its last layer.
        ValueError: No layer of that name, or a block is there already.
    """
    _check_place(host, after)
    add_block(host, after, block, layout, output, new)


def _check_place(host: nn.Module, after: str) -> None:
    if isinstance(host, nn.Sequential):
        raise TypeError(
            f'host is an {type(host).__name__}, which runs every module it holds; '
            'insert into the network that contains it, with the nested name'
        )
    layers = dict(host.named_modules())
    layers.pop('')
    if after not in layers:
        nearest = get_close_matches(after, layers, n=5, cutoff=0)
        raise ValueError(
            f'{type(host).__name__} has no layer {after!r}; the nearest names are '
            f'{nearest}'
        )
    if isinstance(host, HostOfBlocks) and host.has_block_after(after):
        raise ValueError(
            f'a block is already inserted after {after!r}; build both as one block'
        )


def _num_segments(blocks: Sequence[Config]) -> int | None:
    """The frames a clip that the configs of all blocks name, if they are one number."""
    configs = [spec.get('block') or {} for spec in blocks]
    numbers = {
        block.get('num_segments') for block in configs if isinstance(block, Mapping)
    }
    return numbers.pop() if len(numbers) == 1 else None


def _prepare(
    host: nn.Module, spec: Config, seen: Probe
) -> tuple[nn.Module, FeatureLayout]:
    """Build the block of a place, and find the layout there."""
    after, block = spec['after'], spec.get('block')
    given = (spec.get(key) for key in ('output', 'layout', 'sizes', 'class_tokens'))
    layout, sizes = find_layout(seen, after, *given)
    if isinstance(block, nn.Module):
        return block, layout
    scale = min(
        SCALES, key=lambda scale: abs(log(scale**2 * sizes['h'] * sizes['w'] / 14**2))
    )
    block = build(
        f'block after {after!r}',
        block,
        'SELFYBlock',
        decided=dict(in_channels=sizes['c']),
        num_segments=sizes['t'],
        scale=scale,
        fusion=dict(type='ResidualFusion', relu='none'),
        zero_init_last_norm=True,
    )
    parameter = next(host.parameters(), None)
    if parameter is not None:
        block.to(parameter.device)
    print_log(
        f'{type(block).__name__} after {after!r}: {layout}, {sizes["c"]} channels, '
        f'{sizes["t"]}x{sizes["h"]}x{sizes["w"]} positions at an input of '
        f'{seen.input_shape}; default side of a matching grid: {scale} times that of '
        'the features',
        logger='current',
        level=logging.INFO,
    )
    return block, layout
