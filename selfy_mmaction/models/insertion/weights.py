# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Check that a checkpoint has the weights of a network's inserted blocks."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

# Prefixes of blocks: in a host, and in SELFYNeck.
_BLOCK = re.compile(r'(?:.*\.)?(?:inserted_blocks\.[^.]+|neck\.block)(?=\.)')


def check_block_weights(model: nn.Module, state_dict: Mapping[str, Any]) -> None:
    """Reject weights that were trained with different blocks.

    mmengine loads with ``strict=False`` and only logs missing keys; the network would
    then return plausible scores with an untrained block.

    Args:
        model: The network.
        state_dict: Weights, with the keys of the network.

    Raises:
        ValueError: If weights of a block are missing, have other shapes, or belong to a
            block that the network does not have.
    """
    wanted = {
        key: value for key, value in model.state_dict().items() if is_of_block(key)
    }
    found = {key: value for key, value in state_dict.items() if is_of_block(key)}
    missing = [
        key
        for key in wanted
        if key not in found and not key.endswith('num_batches_tracked')
    ]
    foreign = [key for key in found if key not in wanted]
    shapes = [
        f'{key} is {tuple(found[key].shape)} in the checkpoint and '
        f'{tuple(value.shape)} in the network'
        for key, value in wanted.items()
        if key in found and found[key].shape != value.shape
    ]
    problems = []
    if missing:
        problems.append(f'it has no weights for {_summary(missing)}')
    if foreign:
        problems.append(
            f'it has weights for {_summary(foreign)}, which the network lacks'
        )
    if shapes:
        rest = f' and {len(shapes) - 1} more' if len(shapes) > 1 else ''
        problems.append(shapes[0] + rest)
    if problems:
        raise ValueError(
            f'the checkpoint does not fit the inserted blocks of '
            f'{type(model).__name__}: {"; ".join(problems)}. Use the config it was '
            'trained with, and set the prefix in init_cfg. To train a new block on top '
            'of a network without one, set selfy=dict(..., new=True), or '
            "blocks=[dict(after='LAYER', new=True, ...)] of InsertBlocks"
        )


def is_of_block(key: str) -> bool:
    """Check whether a key of a ``state_dict`` belongs to a block.

    Args:
        key: The key.

    Returns:
        True if it does.
    """
    return _BLOCK.match(key) is not None


def strip_prefix(state_dict: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Select the keys with a prefix, and remove the prefix.

    Args:
        state_dict: Weights.
        prefix: The prefix, including the final dot.

    Returns:
        The selected weights.
    """
    return {
        key.removeprefix(prefix): value
        for key, value in state_dict.items()
        if key.startswith(prefix)
    }


def _summary(keys: Iterable[str]) -> str:
    """List the blocks that the keys belong to, with the number of keys of each."""
    counts = Counter(m[0] for m in map(_BLOCK.match, keys) if m)
    return ', '.join(f'{block} ({count} tensors)' for block, count in counts.items())
