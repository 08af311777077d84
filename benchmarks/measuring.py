# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Measure time, memory and multiply-adds of candidates in interleaved rounds."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from operator import truediv
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from selfy_mmaction.evaluation.time_and_memory import (
    peak_bytes,
    quartiles,
    seconds_per_call,
    take_turns,
)


class Candidate(NamedTuple):
    """Implementation to measure.

    Attributes:
        name: Name in the tables.
        passes: Functions to time, by name of the pass. They return one or more tensors.
        like: Name of an earlier candidate that computes the same. The results are
            compared, and its multiply-adds are used for both. Default: None.
        held: Tensors by name of the pass that count as its memory, although they exist
            before the call.
    """

    name: str
    passes: Mapping[str, Callable[[], Any]]
    like: str | None = None
    held: Mapping[str, Sequence[Tensor]] = MappingProxyType({})


def passes_of(
    functions: Sequence[Callable[..., Tensor]],
    inputs: Sequence[Sequence[Any]],
    autocast: Callable[[], AbstractContextManager],
) -> dict[str, Callable[[], Any]]:
    """Create the inference pass and the training pass, without an optimizer.

    Args:
        functions: Two functions or modules: for inference, and for training under
            ``autocast``.
        inputs: The arguments of each.
        autocast: Creates the autocast context of the case.

    Returns:
        Passes 'forward' and 'forward and backward'.
    """
    infer, train = functions
    args = [
        arg.detach().clone().requires_grad_() if isinstance(arg, Tensor) else arg
        for arg in inputs[1]
    ]
    wanted = [arg for arg in args if isinstance(arg, Tensor)]
    wanted += getattr(train, 'parameters', list)()

    def training_forward() -> Tensor:
        with autocast():
            return train(*args)

    result = training_forward().detach()
    generator = torch.Generator().manual_seed(0)
    grad = torch.randn(result.shape, generator=generator).to(result)

    def forward_and_backward() -> list[Tensor]:
        training_forward().backward(grad)
        grads = [tensor.grad for tensor in wanted]
        for tensor in wanted:
            tensor.grad = None
        return grads

    return {
        'forward': torch.no_grad()(lambda: infer(*inputs[0])),
        'forward and backward': forward_and_backward,
    }


def check_results(candidates: Sequence[Candidate]) -> None:
    """Check that candidates match the results of their ``like`` candidates.

    Args:
        candidates: Candidates in float64, which makes rounding errors negligible.

    Raises:
        ValueError: If a result differs.
    """
    results = {}
    for candidate in candidates:
        for name, function in candidate.passes.items():
            result = function()
            result = result if isinstance(result, Tensor) else result[0]
            results[candidate.name, name] = result
            if candidate.like is None:
                continue
            expected = results[candidate.like, name]
            atol = 1e-6 * float(expected.abs().max())
            try:
                torch.testing.assert_close(result, expected, rtol=0, atol=atol)
            except AssertionError as error:
                raise ValueError(
                    f'{candidate.name} does not match {candidate.like} ({name}), so '
                    f'their times cannot be compared. {error}'
                ) from None


def measure(
    candidates: Sequence[Candidate],
    repeats: int,
    device: torch.device,
    gmacs_per_s: float,
) -> list[dict[str, Any]]:
    """Measure all passes of all candidates.

    Args:
        candidates: Candidates. Ratios refer to the first, which must have all passes.
        repeats: Number of rounds, 2 or more.
        device: Device of the candidates.
        gmacs_per_s: Peak rate of the machine in G multiply-adds per second.

    Returns:
        One dict per pass and candidate. ``ms`` and ``ratio`` are quartiles.
    """
    rows = []
    for name in candidates[0].passes:
        present = {each.name: each for each in candidates if name in each.passes}
        functions = {key: each.passes[name] for key, each in present.items()}
        peaks, gmacs = {}, {}
        for key, each in present.items():
            functions[key]()  # warm-up
            held = sum(tensor.nbytes for tensor in each.held.get(name, ()))
            peaks[key] = (held + peak_bytes(functions[key], device)) / 2**20
            gmacs[key] = gmacs[each.like] if each.like else count_gmacs(functions[key])
        seconds = take_turns(functions, repeats)
        baseline = seconds[candidates[0].name]
        for key, values in seconds.items():
            ms = quartiles(1000 * value for value in values)
            least = 1000 * gmacs[key] / gmacs_per_s
            row = {
                'candidate': key,
                'pass': name,
                'ms': ms,
                # Taken within rounds, so that varying machine load cancels out.
                'ratio': quartiles(map(truediv, values, baseline)),
                'peak_mib': peaks[key],
                'gmacs': gmacs[key],
                'times_arithmetic': ms[1] / least if least else None,
                'all_seconds': values,
            }
            rows.append(row)
    return rows


def count_gmacs(function: Callable[[], Any]) -> float:
    """Count the G multiply-adds of torch's operators and ours."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 2e9


def measure_rates(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Measure the peak rates of the machine with the current number of threads.

    Args:
        device: Device to measure.
        dtype: Data type of the run. The faster of it and float32 counts.

    Returns:
        ``gmacs_per_s``, the G multiply-adds per second of the fastest of several matrix
        products, and ``gb_per_s``, the GB per second that a large copy reads and
        writes.
    """

    def best_seconds(function: Callable[[], Any]) -> float:
        return min(seconds_per_call(function) for _ in range(4))

    best = 0.0
    for kind in {torch.float32, dtype}:
        for side in (512, 1024, 2048, 4096, 8192, 16384):
            factor = torch.randn(side, side, device=device).to(kind)
            seconds = best_seconds(partial(factor.matmul, factor))
            best = max(best, side**3 / seconds / 1e9)
            if seconds > 0.05:  # half precision is slow on many CPUs
                break
    source = torch.ones(2**28 if device.type == 'cuda' else 2**26, device=device)
    seconds = best_seconds(partial(torch.empty_like(source).copy_, source))
    return dict(gmacs_per_s=best, gb_per_s=2 * source.nbytes / seconds / 1e9)
