# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What mmengine's FLOP counter (``get_flops.py``) needs to know of our operator."""

from math import prod
from typing import Any

from mmengine.analysis import complexity_analysis
from mmengine.analysis.jit_handles import get_shape


def _windowed_products_flop(inputs: list[Any], outputs: list[Any]) -> int:
    """C multiply-adds per value of the STSS tensor; mmengine counts one as one."""
    _, _, channels, _, _ = get_shape(inputs[0])
    return channels * prod(get_shape(outputs[0]))


def register_flop_count() -> None:
    """Count the self-similarity of Eq. 1, which mmengine would skip."""
    complexity_analysis._DEFAULT_SUPPORTED_FLOP_OPS[
        'selfy_mmaction::windowed_products'
    ] = _windowed_products_flop
