# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Multiply-add counts of operators for mmengine's ``get_flops.py``."""

from math import prod
from typing import Any

from mmengine.analysis import complexity_analysis, jit_analysis
from mmengine.analysis.jit_handles import generic_activation_jit, get_shape
from torch.jit import _get_trace_graph

from selfy_mmaction.ops.exportable import keeping_operators


def _self_similarity_flop(inputs: list[Any], outputs: list[Any]) -> int:
    """Count C multiply-adds per value of the STSS tensor, each as one operation."""
    _, channels, _, _ = get_shape(inputs[0])
    return channels * prod(get_shape(outputs[0]))


def _attention_flop(inputs: list[Any], outputs: list[Any]) -> int:
    """Count the products of queries with keys and of weights with values."""
    query, key, value = (get_shape(tensor) for tensor in inputs[:3])
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _trace_whole_operators(*args: Any, **kwargs: Any) -> Any:
    # In a trace, self-similarity would otherwise be the products of its exportable
    # form, of which there are more.
    with keeping_operators():
        return _get_trace_graph(*args, **kwargs)


def register_flop_count() -> None:
    """Make mmengine count self-similarity (Eq. 1) and attention, which it skips."""
    jit_analysis._get_trace_graph = _trace_whole_operators
    complexity_analysis._DEFAULT_SUPPORTED_FLOP_OPS.setdefault(
        'aten::scaled_dot_product_attention', _attention_flop
    )
    complexity_analysis._DEFAULT_SUPPORTED_FLOP_OPS[
        'selfy_mmaction::self_similarity'
    ] = _self_similarity_flop
    # Like a matrix product, which it is. Otherwise mmengine warns that it is unknown.
    complexity_analysis._DEFAULT_SUPPORTED_ACT_OPS[
        'selfy_mmaction::self_similarity'
    ] = generic_activation_jit()
