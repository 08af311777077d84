# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Time, memory and arithmetic of candidates that take turns."""

import itertools
import math
import os
import random
import statistics
import sys
import timeit
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from operator import truediv
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from mmengine.utils import track_iter_progress
from torch import Tensor
from torch.autograd.profiler import MEMORY_EVENT_NAME
from torch.utils.benchmark import timer
from torch.utils.flop_counter import FlopCounterMode

# Calls that are shorter are repeated until one timing takes this long.
LEAST_SECONDS, MOST_CALLS = 0.02, 100


class Candidate(NamedTuple):
    """One way to compute something.

    Attributes:
        name: For tables.
        passes: What is timed, by name: functions that return a tensor or several.
        like: Name of an earlier candidate that computes the same: the results are
            compared, and the arithmetic is that candidate's. Default: None.
        held: Tensors that count as memory of a pass, although they are there before it.
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
    """Inference, and training without the optimizer, of functions or modules.

    Args:
        functions: For inference, and for training under ``autocast``.
        inputs: The arguments of each.
        autocast: Of the case.
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
    """Check that candidates compute what those do that they are like.

    Args:
        candidates: In float64, where rounding explains no difference.

    Raises:
        ValueError: One does not.
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
                    f'{candidate.name} does not compute what {candidate.like} does '
                    f'({name}), so their times cannot be compared. {error}'
                ) from None


def measure(
    candidates: Sequence[Candidate],
    repeats: int,
    device: torch.device,
    gmacs_per_s: float,
) -> list[dict[str, Any]]:
    """Measure all passes of all candidates.

    Args:
        candidates: What to compare; ratios refer to the first, which has all passes.
        repeats: Number of rounds, 2 or more.
        device: Where to run.
        gmacs_per_s: What the machine can do, in G multiply-adds per second.

    Returns:
        A dict per pass and candidate, in which ``ms`` and ``ratio`` are quartiles.
    """
    rows = []
    for name in candidates[0].passes:
        turns = {each.name: each for each in candidates if name in each.passes}
        functions = {key: each.passes[name] for key, each in turns.items()}
        peaks, gmacs = {}, {}
        for key, each in turns.items():
            functions[key]()  # warms up
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
                # Within rounds: a machine that slows down slows down both sides.
                'ratio': quartiles(map(truediv, values, baseline)),
                'peak_mib': peaks[key],
                'gmacs': gmacs[key],
                'times_arithmetic': ms[1] / least if least else None,
                'all_seconds': values,
            }
            rows.append(row)
    return rows


def take_turns(
    functions: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, list[float]]:
    """Time each function once per round, in another order each time.

    Returns:
        Seconds per call, by name of the function.
    """
    calls = {
        name: min(math.ceil(LEAST_SECONDS / seconds_per_call(function)), MOST_CALLS)
        for name, function in functions.items()
    }
    found: dict[str, list[float]] = {name: [] for name in functions}
    order = random.Random(0)
    for _ in track_iter_progress(range(repeats), file=sys.stderr):
        for name in order.sample([*functions], len(functions)):
            found[name].append(seconds_per_call(functions[name], calls[name]))
    return found


def seconds_per_call(function: Callable[[], Any], calls: int = 1) -> float:
    """Wall time; ``timer`` waits for the accelerator."""
    return timeit.timeit(function, timer=timer, number=calls) / calls


def quartiles(values: Iterable[float]) -> list[float]:
    """First quartile, median, third quartile."""
    return statistics.quantiles(values, n=4, method='inclusive')


def count_gmacs(function: Callable[[], Any]) -> float:
    """G multiply-adds of torch's own operators and ours."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 2e9


def peak_bytes(function: Callable[[], Any], device: torch.device) -> int:
    """Memory that a call needs at most, above what was in use before it.

    On CUDA that of torch's allocator. On a CPU the running sum of what torch's
    allocator gives and takes back, from its profiler, which does not see buffers
    inside libraries such as oneDNN.
    """
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    # Kineto reports its own start and stop otherwise.
    os.environ.setdefault('KINETO_LOG_LEVEL', '99')
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        result = function()  # alive until the end, as on CUDA
    del result
    changes = sorted(
        (event.start_ns(), event.nbytes())
        for event in profile.profiler.kineto_results.events()
        if event.name() == MEMORY_EVENT_NAME
    )
    return max(itertools.accumulate((change for _, change in changes), initial=0))


def measure_rates(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """What the machine can do with the threads that are set.

    Args:
        device: Where to run.
        dtype: Of the run. The faster of it and float32 counts.

    Returns:
        ``gmacs_per_s``, G multiply-adds of the fastest of several matrix products, and
        ``gb_per_s``, GB read and written by a large copy.
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
