# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Measure time and memory of functions in interleaved rounds."""

import itertools
import math
import os
import platform
import random
import re
import statistics
import sys
import timeit
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from mmengine.utils import track_iter_progress
from torch.autograd.profiler import MEMORY_EVENT_NAME
from torch.utils.benchmark import timer

# Shorter calls are repeated until one timing takes this long.
LEAST_SECONDS, MOST_CALLS = 0.02, 100

Name = TypeVar('Name', bound=Hashable)


def take_turns(
    functions: Mapping[Name, Callable[[], Any]], repeats: int
) -> dict[Name, list[float]]:
    """Time each function once per round, in random order.

    Returns:
        Seconds per call in each round, by name of the function.
    """
    calls = {
        name: min(math.ceil(LEAST_SECONDS / seconds_per_call(function)), MOST_CALLS)
        for name, function in functions.items()
    }
    found: dict[Name, list[float]] = {name: [] for name in functions}
    order = random.Random(0)
    for _ in track_iter_progress(range(repeats), file=sys.stderr):
        for name in order.sample([*functions], len(functions)):
            found[name].append(seconds_per_call(functions[name], calls[name]))
    return found


def seconds_per_call(function: Callable[[], Any], calls: int = 1) -> float:
    """Measure wall time; ``timer`` synchronizes the accelerator."""
    return timeit.timeit(function, timer=timer, number=calls) / calls


def quartiles(values: Iterable[float]) -> list[float]:
    """Return the first quartile, the median and the third quartile."""
    return statistics.quantiles(values, n=4, method='inclusive')


def peak_bytes(function: Callable[[], Any], device: torch.device) -> int:
    """Measure the peak memory of a call beyond what was in use before it.

    On CUDA, torch's allocator reports it. On a CPU, it is the peak of the running sum
    of allocations and frees in torch's profiler, which misses buffers inside libraries
    such as oneDNN.
    """
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    # Silence Kineto's messages about its own start and stop.
    os.environ.setdefault('KINETO_LOG_LEVEL', '99')
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        result = function()  # kept alive until the end, as on CUDA
    del result
    changes = sorted(
        (event.start_ns(), event.nbytes())
        for event in profile.profiler.kineto_results.events()
        if event.name() == MEMORY_EVENT_NAME
    )
    return max(itertools.accumulate((change for _, change in changes), initial=0))


def cpu_name() -> str:
    """Return the model of the CPU."""
    cpus = Path('/proc/cpuinfo')
    model = re.search('model name.*: (.*)', cpus.read_text() if cpus.exists() else '')
    return model[1] if model else platform.processor()
