# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Insertion of a block after a named layer of any network.

The block is called on the layer's output by a forward hook, so the host's code and
the keys of its ``state_dict`` stay as they are; its parameters live in
``host.inserted_blocks``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from torch import nn


def insert_block(host: nn.Module, after: str, block: nn.Module) -> None:
    """Run a block on the output of a layer.

    Args:
        host: The network. The block becomes ``host.inserted_blocks[after]`` (dots
            of nested names replaced by dashes).
        after: Name of the layer, as in ``host.named_modules()``.
        block: Module from features to features of the same shape.

    Raises:
        TypeError: The host is an ``nn.Sequential``, which would run the block a second
            time as its last layer.
        ValueError: No layer of that name, or a block is there already.
    """
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
    if not hasattr(host, 'inserted_blocks'):
        host.inserted_blocks = nn.ModuleDict()
    name = after.replace('.', '-')
    if name in host.inserted_blocks:
        raise ValueError(
            f'a block is already inserted after {after!r}; build both as one block'
        )
    host.inserted_blocks[name] = block
    layers[after].register_forward_hook(_RunBlock(block))


@contextmanager
def without_inserted_blocks(host: nn.Module) -> Iterator[None]:
    """Hide the inserted blocks from code of the host that walks its modules.

    Args:
        host: A network that may have inserted blocks.
    """
    blocks = host._modules.pop('inserted_blocks', None)
    try:
        yield
    finally:
        if blocks is not None:
            host._modules['inserted_blocks'] = blocks


class _RunBlock:
    # An object rather than a closure: a deep copy of the host (an EMA model, say)
    # copies it together with the block it refers to.
    def __init__(self, block: nn.Module) -> None:
        self.block = block

    def __call__(self, layer: nn.Module, args: tuple, output: Any) -> Any:
        return self.block(output)
