# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What an inserted block costs."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from torch import nn

from .host import HostOfBlocks
from .insert_blocks import insert_blocks
from .layout import FeatureLayout
from .probe import probe


class InsertionCost(NamedTuple):
    """What a block adds to a network, for one clip."""

    layout: FeatureLayout
    features: tuple[int, int, int, int]  # (T, C, H, W) as the block gets them
    parameters: int
    multiply_adds: int
    plain_multiply_adds: int


def insertion_cost(
    host: nn.Module, spec: dict[str, Any], input_shape: Sequence[int]
) -> InsertionCost:
    """Insert a block and count what it adds.

    Args:
        host: The network, which keeps the block.
        spec: An element of the ``blocks`` of :func:`insert_blocks`.
        input_shape: As for :func:`insert_blocks`.

    Returns:
        Parameters and multiply-adds.

    Raises:
        ValueError: As :func:`insert_blocks`.
    """
    plain = probe(host, (), input_shape).multiply_adds
    (layout,) = insert_blocks(host, [spec], input_shape)
    ((name, block),) = cast(HostOfBlocks, host).inserted_blocks.items()
    name = f'inserted_blocks.{name}'
    seen = probe(host, [name], input_shape)
    return InsertionCost(
        layout,
        tuple(seen.outputs[name].shape),
        sum(parameter.numel() for parameter in block.parameters()),
        seen.multiply_adds - plain,
        plain,
    )
