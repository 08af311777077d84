# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Time, memory and arithmetic of candidates that take turns."""

import contextlib
import math
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.utils import ProgressBar
from torch import Tensor, nn
from torch.autograd.profiler import MEMORY_EVENT_NAME
from torch.utils.flop_counter import FlopCounterMode

FORWARD, BACKWARD = 'forward', 'forward and backward'

# One timing lasts as long at least: calls that are shorter are repeated within it.
_LEAST_SECONDS, _MOST_CALLS = 0.02, 100
# Relative differences beyond which two results may not be the same. In the backward
# pass ten times as much: batch statistics amplify the rounding of gradients.
_TOLERANCES = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 2e-2}
# The same in float64, which decides: how much rounding is amplified differs.
_EXACT_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Counts:
    """What a pass needs by definition, however it is computed.

    Attributes:
        macs: Multiply-adds.
        bytes: Inputs, parameters and results, each read or written once.
    """

    macs: float
    bytes: float


@dataclass(frozen=True)
class Limits:
    """What the machine can do.

    Attributes:
        macs_per_s: Multiply-adds a second of a large matrix product.
        bytes_per_s: Bytes a second, read and written, of a large copy.
    """

    macs_per_s: float
    bytes_per_s: float

    def least_seconds(self, counts: Counts) -> float:
        """Time of a pass that is limited by its arithmetic or its traffic alone."""
        return max(counts.macs / self.macs_per_s, counts.bytes / self.bytes_per_s)


@dataclass
class Candidate:
    """One way to compute something.

    Attributes:
        name: For tables.
        passes: What is timed, by name: functions that return a tensor or several.
        counts: What each pass needs.
        same_as: Candidate whose passes give the same (first) tensors. Default: None.
        is_peer: Not ours: a failure skips it. Default: False.
        held_bytes: Weights and the like that count as memory of a pass although they
            are there before it. Default: 0.
    """

    name: str
    passes: dict[str, Callable[[], Any]]
    counts: dict[str, Counts]
    same_as: str | None = None
    is_peer: bool = False
    held_bytes: int = 0


def tensor_bytes(*tensors: Tensor) -> int:
    """Bytes of the elements of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def differentiable_counts(
    macs: dict[str, float], ins: int, outs: int, weights: int = 0
) -> dict[str, Counts]:
    """Counts of a function and of its gradients.

    The backward pass reads inputs, weights and the gradient of the result, and writes
    the gradients of inputs and weights.

    Args:
        macs: Multiply-adds of each pass.
        ins: Bytes of the inputs.
        outs: Bytes of the result.
        weights: Bytes of the parameters. Default: 0.
    """
    least = {FORWARD: ins + weights + outs, BACKWARD: 3 * (ins + weights) + 2 * outs}
    return {name: Counts(macs[name], least[name]) for name in macs}


def count_macs(function: Callable[[], Any]) -> float:
    """Multiply-adds of torch's own operators and ours."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / 2


def autocast(
    device: torch.device, dtype: torch.dtype
) -> contextlib.AbstractContextManager:
    """Autocast in half precision, nothing in float32 and float64."""
    if dtype.itemsize >= 4:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def module_candidate(
    name: str,
    modules: tuple[nn.Module, nn.Module],
    inputs: tuple[Sequence[Any], Sequence[Any]],
    dtype: torch.dtype,
    like: Candidate | None = None,
) -> Candidate:
    """Inference, and training without the optimizer, of a module.

    Args:
        name: For tables.
        modules: For inference, in ``dtype``, and for training, in float32 under
            autocast where ``dtype`` is half precision.
        inputs: Arguments of each.
        dtype: Of the run.
        like: What a peer computes: the candidate gives its counts, and the result is
            compared with its. Default: None, a candidate of ours.
    """
    for module, mode in zip(modules, (False, True), strict=True):
        module.train(mode)
    args = [
        arg.detach().requires_grad_() if isinstance(arg, Tensor) else arg
        for arg in inputs[1]
    ]
    leaves = [arg for arg in args if isinstance(arg, Tensor)]
    wanted = [*leaves, *modules[1].parameters()]
    grads: list[Tensor] = []

    @torch.no_grad()
    def forward() -> Tensor:
        return modules[0](*inputs[0])

    def forward_and_backward() -> tuple[Tensor | None, ...]:
        with autocast(leaves[0].device, dtype):
            result = modules[1](*args)
        if not grads:
            generator = torch.Generator().manual_seed(0)
            grads.append(torch.randn(result.shape, generator=generator).to(result))
        result.backward(grads[0])
        found = tuple(tensor.grad for tensor in wanted)
        for tensor in wanted:
            tensor.grad = None
        return found

    passes = {FORWARD: forward, BACKWARD: forward_and_backward}
    if like is not None:
        return Candidate(name, passes, like.counts, like.name, is_peer=True)
    macs = {pass_: count_macs(function) for pass_, function in passes.items()}
    sizes = tensor_bytes(*leaves), tensor_bytes(*grads)
    weights = tensor_bytes(*modules[1].parameters())
    return Candidate(name, passes, differentiable_counts(macs, *sizes, weights))


def measure_limits(device: torch.device, dtype: torch.dtype) -> Limits:
    """Measure what the machine can do, with the threads that are set.

    Products are in float32 and in ``dtype``, the faster of which counts: half
    precision is slower on many CPUs.
    """
    best = 0.0
    for kind in {torch.float32, dtype}:
        side, seconds = 256, 0.0
        while seconds < 0.05 and side < 16384:
            side *= 2
            factor = torch.randn(side, side, device=device).to(kind)
            seconds = _best_seconds(factor.matmul, factor, device=device)
            best = max(best, side**3 / seconds)
    elements = 2**28 if device.type == 'cuda' else 2**26
    source = torch.ones(elements, device=device)
    seconds = _best_seconds(torch.empty_like(source).copy_, source, device=device)
    return Limits(best, 2 * tensor_bytes(source) / seconds)


def _best_seconds(
    function: Callable[..., Any], *args: Any, device: torch.device
) -> float:
    return min(_time(lambda: function(*args), 1, device) for _ in range(4))


def _time(function: Callable[[], Any], calls: int, device: torch.device) -> float:
    """Seconds a call."""
    if device.type == 'cuda':
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(device)
        start.record()
        for _ in range(calls):
            function()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000 / calls
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def peak_bytes(function: Callable[[], Any], device: torch.device) -> int:
    """Memory that a call needs at most, above what is there before it.

    On CUDA that of torch's allocator. On a CPU the running sum of what torch's
    allocator gives and takes back, from its profiler; buffers inside libraries such as
    oneDNN are not seen.
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
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak


@dataclass
class Measurement:
    """Result of :func:`measure`.

    Attributes:
        rows: A dict per pass and candidate.
        skipped: Names and reasons of peers that failed.
        warnings: Candidates whose results differ from those they are to equal.
    """

    rows: list[dict[str, Any]]
    skipped: list[dict[str, str]]
    warnings: list[str]


@dataclass
class _Prepared:
    """What is known of a candidate before it is timed; dicts by pass."""

    candidate: Candidate
    results: dict[str, Tensor]
    calls: dict[str, int]
    peaks: dict[str, int]


def measure(
    candidates: Sequence[Candidate],
    baseline: str,
    repeats: int,
    limits: Limits,
    device: torch.device,
    dtype: torch.dtype,
    in_float64: Callable[[], Sequence[Candidate]],
) -> Measurement:
    """Measure all passes of all candidates, in turn.

    A round times every candidate once, in another order each time. Ratios are taken
    within rounds, so that a machine that slows down slows both sides of each.

    Args:
        candidates: What to compare. The baseline has all passes.
        baseline: Name of the candidate that ratios refer to, one of ours.
        repeats: Number of rounds, 2 or more.
        limits: What the machine can do.
        device: Where to run.
        dtype: Of the run, for the comparison of results.
        in_float64: Makes the candidates in float64. Results that differ by more than
            rounding should are compared once more with it.
    """
    ready, skipped = [], []
    for candidate in candidates:
        try:
            ready.append(_prepare(candidate, device))
        except Exception as error:
            if not candidate.is_peer:
                raise
            reason = f'{type(error).__name__}: {error}'.splitlines()[0]
            skipped.append(dict(name=candidate.name, reason=reason))
    differences = _differences(ready)
    suspects = [
        (name, pass_)
        for (name, pass_), difference in differences.items()
        if not difference <= _TOLERANCES[dtype] * (1 if pass_ == FORWARD else 10)
    ]
    exact = _exact_differences(in_float64, suspects) if suspects else {}
    warnings = [
        f'{name} gives another result than it should ({pass_}, relative difference '
        f'{differences[name, pass_]:.1e}): its times may be of something else'
        for name, pass_ in suspects
        if not exact.get((name, pass_), math.inf) <= _EXACT_TOLERANCE
    ]
    for prepared in ready:
        prepared.results.clear()  # not in memory while others are timed
    passes = list(dict.fromkeys(p for each in ready for p in each.calls))
    bar = ProgressBar(repeats * sum(len(r.calls) for r in ready), file=sys.stderr)
    rows, order = [], random.Random(0)
    for pass_ in passes:
        turn = [prepared for prepared in ready if pass_ in prepared.calls]
        seconds: dict[str, list[float]] = {r.candidate.name: [] for r in turn}
        for _ in range(repeats):
            for prepared in order.sample(turn, len(turn)):
                candidate, calls = prepared.candidate, prepared.calls[pass_]
                once = _time(candidate.passes[pass_], calls, device)
                seconds[candidate.name].append(once)
                bar.update()
        for prepared in turn:
            name = prepared.candidate.name
            row = _row(prepared, pass_, seconds[name], seconds[baseline], limits)
            rows.append(dict(row, difference=differences.get((name, pass_))))
    print(file=sys.stderr)
    return Measurement(rows, skipped, warnings)


def _prepare(candidate: Candidate, device: torch.device) -> _Prepared:
    """Warm up, and find what does not depend on other candidates."""
    prepared = _Prepared(candidate, {}, {}, {})
    for name, function in candidate.passes.items():
        prepared.results[name] = _first_result(function)
        prepared.peaks[name] = peak_bytes(function, device) + candidate.held_bytes
        wanted = math.ceil(_LEAST_SECONDS / max(_time(function, 1, device), 1e-9))
        prepared.calls[name] = min(wanted, _MOST_CALLS)
    return prepared


def _first_result(function: Callable[[], Any]) -> Tensor:
    result = function()
    return (result if isinstance(result, Tensor) else result[0]).detach()


def _exact_differences(
    in_float64: Callable[[], Sequence[Candidate]],
    suspects: Sequence[tuple[str, str]],
) -> dict[tuple[str, str], float]:
    """Differences in float64, without those of what does not run in it."""
    ready = []
    with contextlib.suppress(Exception):  # peers may fail in any way
        candidates = {candidate.name: candidate for candidate in in_float64()}
        names = dict.fromkeys(name for name, _ in suspects)
        ours = dict.fromkeys(candidates[name].same_as for name in names)
        for name in [*ours, *names]:
            passes = candidates[name].passes.items()
            results = {pass_: _first_result(function) for pass_, function in passes}
            ready.append(_Prepared(candidates[name], results, {}, {}))
    return _differences(ready)


def _differences(ready: Sequence[_Prepared]) -> dict[tuple[str, str], float]:
    """Largest difference over the largest value, by candidate and pass."""
    by_name = {prepared.candidate.name: prepared for prepared in ready}
    found = {}
    for name, prepared in by_name.items():
        if prepared.candidate.same_as not in by_name:
            continue
        for pass_, result in prepared.results.items():
            expected = by_name[prepared.candidate.same_as].results[pass_].double()
            if result.shape != expected.shape:
                found[name, pass_] = math.inf
                continue
            difference = (result.double() - expected).abs().max()
            found[name, pass_] = float(difference / expected.abs().max())
    return found


def _row(
    prepared: _Prepared,
    pass_: str,
    seconds: list[float],
    baseline: list[float],
    limits: Limits,
) -> dict[str, Any]:
    counts = prepared.candidate.counts[pass_]
    ratios = [a / b for a, b in zip(seconds, baseline, strict=True)]
    return dict(
        candidate=prepared.candidate.name,
        **{'pass': pass_},
        ms=_quartiles([1000 * value for value in seconds]),
        ratio=_quartiles(ratios),
        peak_mib=prepared.peaks[pass_] / 2**20,
        gmacs=counts.macs / 1e9,
        least_mb=counts.bytes / 1e6,
        share_of_limit=limits.least_seconds(counts) / statistics.median(seconds),
        all_ms=[1000 * value for value in seconds],
    )


def _quartiles(values: list[float]) -> list[float]:
    """First quartile, median, third quartile."""
    return statistics.quantiles(values, n=4, method='inclusive')
