# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Positions and their neighbors along one axis."""

from collections.abc import Sequence

import torch
from torch import Tensor


def distances(length: int, device: torch.device) -> Tensor:
    """Compute the signed distances between all positions.

    Args:
        length: Number of positions.
        device: Device of the result.

    Returns:
        (length, length), column index minus row index.
    """
    places = torch.arange(length, device=device)
    return places - places[:, None]


def neighbors_inside(
    length: int, offsets: Sequence[int], device: torch.device
) -> Tensor:
    """Determine which neighbors of each position exist.

    Args:
        length: Number of positions.
        offsets: Offsets of the neighbors.
        device: Device of the result.

    Returns:
        (length, len(offsets)), bool.
    """
    places = torch.arange(length, device=device)[:, None]
    places = places + torch.tensor(offsets, device=device)
    return (places >= 0) & (places < length)


def centered(size: int) -> range:
    """Return the offsets of a window, from ``-(size // 2)`` to ``size // 2``.

    Args:
        size: Size of the window, odd.

    Returns:
        The offsets.
    """
    return range(-(size // 2), size // 2 + 1)
