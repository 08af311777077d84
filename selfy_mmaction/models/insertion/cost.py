# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Cost of an inserted block."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from torch import nn

from .host import HostOfBlocks
from .insert_blocks import insert_blocks
from .layout import FeatureLayout
from .probe import probe


class InsertionCost(NamedTuple):
    """Cost that a block adds to a network, per clip.

    Attributes:
        layout: Layout of the features.
        features: Shape (T, C, H, W) of the block's input.
        parameters: Number of parameters of the block.
        multiply_adds: Multiply-adds that the block adds.
        plain_multiply_adds: Multiply-adds of the network without the block.
    """

    layout: FeatureLayout
    features: tuple[int, int, int, int]
    parameters: int
    multiply_adds: int
    plain_multiply_adds: int


def insertion_cost(
    host: nn.Module, spec: dict[str, Any], input_shape: Sequence[int]
) -> InsertionCost:
    """Insert a block and count its parameters and multiply-adds.

    Args:
        host: The network, which keeps the block.
        spec: An element of ``blocks`` of :func:`insert_blocks`.
        input_shape: See :func:`insert_blocks`.

    Returns:
        The cost of the block.

    Raises:
        ValueError: If :func:`insert_blocks` raises it.
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
