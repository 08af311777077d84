# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Insertion of blocks after named layers of any network.

A forward hook calls the block on the layer's output, so the host's code and the keys of
its ``state_dict`` do not change. The blocks are stored in ``host.inserted_blocks``.
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

    Args:
        backbone: Config of any backbone, or of a whole recognizer.
        blocks: See :func:`insert_blocks`.
        input_shape: See :func:`insert_blocks`. Default: None.

    Returns:
        The network itself, not a wrapper.

    Raises:
        ValueError: If :func:`insert_blocks` raises it, or if the backbone is from
            another library, so that the recognizer has to build it.

    Example:
        >>> import torch
        >>> from mmaction.registry import MODELS
        >>> import selfy_mmaction  # registers the modules
        >>> backbone = MODELS.build(
        ...     dict(
        ...         type='InsertBlocks',
        ...         backbone=dict(type='MobileNetV2TSM', num_segments=8),
        ...         blocks=[dict(after='layer3', block=dict(type='SELFYBlock'))],
        ...         input_shape=(8, 3, 64, 64),
        ...     )
        ... )
        >>> backbone(torch.randn(8, 3, 64, 64)).shape
        torch.Size([8, 1280, 2, 2])
    """
    name = backbone['type']
    libraries = ('mmcls.', 'mmpretrain.', 'torchvision.', 'timm.')
    if isinstance(name, str) and name.startswith(libraries):
        raise ValueError(
            f'only the recognizer can build {name!r}, because it calls backbones of '
            'other libraries differently; put InsertBlocks around the recognizer: '
            "model=dict(type='InsertBlocks', "
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

    Missing options are determined by a forward pass of a copy of the host, and logged.

    Args:
        host: The network, a backbone or a recognizer.
        blocks: One dict per block.

            - after: Name of the layer, as in ``host.named_modules()``.
            - block: Module, or its config. A config is built with ``in_channels`` and
              ``num_segments`` of the layer, the ``scale`` whose matching grid is
              closest to 14x14, and ``fusion=dict(relu='none')`` and
              ``zero_init_last_norm=True`` or ``zero_init_residual=True``, so that it
              starts as the identity even for negative features. The config may override
              all but ``in_channels``; arguments that the block lacks are omitted.
              Default: ``dict(type='SELFYBlock')``.
            - new: Whether training may start from a checkpoint without the block's
              weights; see :class:`~selfy_mmaction.engine.CheckpointCheckHook`.
              Default: False.
            - layout, sizes, class_tokens: See :class:`FeatureLayout`. Default:
              '(n t) c h w' for 4-D features, 'n c t h w' for 5-D features; any other
              layout must be given. Sizes and class tokens are determined.
            - output: Index or key of the features if the layer returns several tensors.
              Default: None, for a layer that returns one tensor.
        input_shape: Shape of one clip at the backbone's input, (T, C, H, W) for 2D
            networks and (1, C, T, H, W) for 3D networks. Default: None, which means
            (num_segments, 3, 224, 224) if the host or the blocks have ``num_segments``.

    Returns:
        The layout of the features at each block.

    Raises:
        TypeError: If :func:`insert_block` raises it.
        ValueError: If a key or layer is unknown, an output is not a feature map, or the
            forward pass does not determine a missing option uniquely.

    Example:
        >>> import torch
        >>> from mmaction.models import ResNet
        >>> from selfy_mmaction.models import insert_blocks
        >>> network = ResNet(depth=18)  # or any other network
        >>> blocks = [dict(after='layer2', block=dict(type='SELFYBlock'))]
        >>> (layout,) = insert_blocks(network, blocks, input_shape=(8, 3, 64, 64))
        >>> layout.measure((16, 128, 8, 8))
        {'t': 8, 'n': 2, 'c': 128, 'h': 8, 'w': 8}
        >>> network(torch.randn(2 * 8, 3, 64, 64)).shape
        torch.Size([16, 512, 2, 2])
    """
    if not isinstance(blocks, Sequence) or not blocks:
        raise ValueError(
            "blocks must be a non-empty list such as [dict(after='LAYER')], but got "
            f'{blocks!r}; to use no blocks, build the network without InsertBlocks'
        )
    for spec in blocks:
        if not isinstance(spec, Mapping) or not {'after'} <= set(spec) <= set(_KEYS):
            raise ValueError(
                "each block must be like dict(after='LAYER', block=dict(type=...)), "
                f'with keys from {_KEYS}, but got {spec!r}'
            )
        _check_place(host, spec['after'])
        check_bool('new', spec.get('new', False))
    layers = [spec['after'] for spec in blocks]
    seen = probe(host, layers, input_shape, _num_segments(blocks))
    # Do everything that may fail before changing the host.
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

    The class of the host is replaced by one of the same name, derived from
    :class:`HostOfBlocks` and the original class.

    Args:
        host: The network. The block is stored in ``host.inserted_blocks[after]``, with
            the dots of nested names replaced by dashes.
        after: Name of the layer, as in ``host.named_modules()``.
        block: Module from features to features of the same shape.
        layout: Layout of the features. The block receives them as (N*T, C, H, W), and T
            as ``num_segments`` if its ``forward`` has such an argument.
            Default: None, which passes the features unchanged.
        output: Index or key of the features if the layer returns several tensors.
            Default: None.
        new: Whether training may start from a checkpoint without the block's weights.
            Default: False.

    Raises:
        TypeError: If the host is an ``nn.Sequential``, which would run the block again
            as its last layer.
        ValueError: If the host has no such layer, or already has a block after it.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from selfy_mmaction.models import FeatureLayout, SELFYBlock, insert_block
        >>> network = nn.Module()
        >>> network.stem = nn.Conv3d(3, 32, kernel_size=3, padding=1)
        >>> layout = FeatureLayout('n c t h w')
        >>> insert_block(network, 'stem', SELFYBlock(in_channels=32), layout)
        >>> network.stem(torch.randn(1, 3, 8, 14, 14)).shape  # with the block
        torch.Size([1, 32, 8, 14, 14])
    """
    _check_place(host, after)
    add_block(host, after, block, layout, output, new)


def _check_place(host: nn.Module, after: str) -> None:
    if isinstance(host, nn.Sequential):
        raise TypeError(
            f'the host is an nn.Sequential ({type(host).__name__}), which runs every '
            'module it contains, so the block would run twice; insert into the network '
            'that contains it, with the nested layer name'
        )
    layers = dict(host.named_modules())
    layers.pop('')
    if after not in layers:
        nearest = get_close_matches(after, layers, n=5, cutoff=0)
        raise ValueError(
            f'{type(host).__name__} has no layer {after!r}; the closest names are '
            f'{nearest}'
        )
    if isinstance(host, HostOfBlocks) and host.has_block_after(after):
        raise ValueError(
            f'a block is already inserted after {after!r}; combine both blocks into '
            'one, such as SequentialBlocks'
        )


def _num_segments(blocks: Sequence[Config]) -> int | None:
    """Return ``num_segments`` of the blocks' configs if all agree, else None."""
    configs = [spec.get('block') or {} for spec in blocks]
    numbers = {
        block.get('num_segments') for block in configs if isinstance(block, Mapping)
    }
    return numbers.pop() if len(numbers) == 1 else None


def _prepare(
    host: nn.Module, spec: Config, seen: Probe
) -> tuple[nn.Module, FeatureLayout]:
    """Build one block and find the layout of its features."""
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
        zero_init_residual=True,
    )
    parameter = next(host.parameters(), None)
    if parameter is not None:
        block.to(parameter.device)
    print_log(
        f'{type(block).__name__} runs after {after!r}. For an input of '
        f'{seen.input_shape} it gets {sizes["t"]} frames of {sizes["h"]}x{sizes["w"]} '
        f'positions with {sizes["c"]} channels (layout {layout}). Unless its config '
        f'sets scale, it compares frames at {scale:g} times this resolution.',
        logger='current',
        level=logging.INFO,
    )
    return block, layout
