# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Measure the costs of several networks; a failure of one does not stop the others."""

import gc
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from mmengine.analysis import parameter_count
from mmengine.config import Config
from torch import nn

from ..time_and_memory import quartiles, take_turns
from .costs import count_multiply_adds, forward_pass, training_memory
from .networks import build_untrained, clip_shape
from .reported import Reported

#: What can be left out, because it takes long.
MEASURES = ('memory', 'time')

_LATENCY, _THROUGHPUT = 'latency', 'throughput'
_Result = TypeVar('_Result')


class Variant(NamedTuple):
    """Network to measure.

    Attributes:
        name: Unique name for tables.
        path: Path or name of the config.
        config: Config.
        changes: Options that a sweep changes, and their values.
        reported: Figures that others reported for this network, if there are any.
    """

    name: str
    path: str
    config: Config
    changes: dict[str, Any]
    reported: Reported | None = None


class Settings(NamedTuple):
    """How to measure.

    Attributes:
        device: Device.
        dtype: Data type of the weights and clips in forward passes, and of autocast in
            training steps.
        batch_size: Clips per training step and per batch of the throughput.
        repeats: Rounds of timing, at least 2.
        shape: See :func:`clip_shape`.
        measures: Any of :data:`MEASURES`; multiply-adds are always counted.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    batch_size: int = 8
    repeats: int = 10
    shape: tuple[int, ...] | None = None
    measures: Sequence[str] = MEASURES


@dataclass
class Row:
    """Costs of one network; None is not measured.

    Attributes:
        variant: The network.
        shape: Shape of one clip.
        parameters: Number of parameters.
        multiply_adds: Multiply-adds per clip.
        training_bytes: Peak memory of a training step.
        latency: Quartiles of the seconds of a forward pass of one clip.
        throughput: Quartiles of the clips per second of a forward pass of a batch.
        errors: What failed, and why.
    """

    variant: Variant
    shape: tuple[int, ...] | None = None
    parameters: int | None = None
    multiply_adds: int | None = None
    training_bytes: int | None = None
    latency: list[float] | None = None
    throughput: list[float] | None = None
    errors: list[str] = field(default_factory=list)

    def attempt(
        self, what: str, function: Callable[..., _Result], *args: Any
    ) -> _Result | None:
        """Call a function; an error of it becomes one of the row."""
        try:
            return function(*args)
        except Exception as error:  # configs, networks and devices may raise any
            self.errors.append(f'{what}: {_describe(error)}')
        # Now that the traceback is gone, so are the tensors that it held.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None


def _describe(error: Exception) -> str:
    text = ' '.join(str(error).split())
    if "not implemented for 'Half'" in text or "not implemented for 'BFloat16'" in text:
        text += ' (this device lacks the operator in half precision: use float32)'
    return f'{type(error).__name__}: {text}'


def measure(
    variants: Sequence[Variant],
    settings: Settings,
    save: Callable[[list[Row]], None] = lambda rows: None,
) -> list[Row]:
    """Measure networks with random weights.

    Multiply-adds and memory are measured one network after the other. Then all networks
    are timed in interleaved rounds, so that noise of the machine affects all alike.

    Args:
        variants: The networks.
        settings: How to measure.
        save: Called with the rows whenever one has new figures.

    Returns:
        One row per network, in the given order.

    Example:
        >>> import torch
        >>> from selfy_mmaction.checkpoints import packaged_config
        >>> from selfy_mmaction.evaluation.efficiency.measure import Settings, measure
        >>> from selfy_mmaction.evaluation.efficiency.variants import read_variants
        >>> path = str(packaged_config('selfy-tsn-r18-slim-motion'))
        >>> settings = Settings(torch.device('cpu'), measures=())  # no memory, no time
        >>> (row,) = measure(read_variants([path]), settings)
        >>> row.shape, row.parameters, row.multiply_adds
        ((8, 3, 64, 64), 196688, 137631744)
    """
    rows = [Row(variant) for variant in variants]
    networks = []
    for number, row in enumerate(rows, start=1):
        torch.manual_seed(0)
        networks.append(_measure_costs(row, settings))
        save(rows)
        _tell(f'[{number}/{len(rows)}] {_summary(row)}')
    if 'time' in settings.measures:
        _measure_times(rows, networks, settings)
        save(rows)
    return rows


def _measure_costs(row: Row, settings: Settings) -> nn.Module | None:
    """Fill in a row without times, and return the network on the CPU."""
    config = row.variant.config
    network = row.attempt('building', build_untrained, config)
    if network is None:
        return None
    row.parameters = parameter_count(network)['']
    row.shape = row.attempt('input', clip_shape, config, network, settings.shape)
    if row.shape is None:
        return None
    if row.attempt('device', network.to, settings.device) is None:
        return None
    args = network, row.shape
    row.multiply_adds = row.attempt('multiply-adds', count_multiply_adds, *args)
    if 'memory' in settings.measures:
        row.training_bytes = row.attempt(
            'training memory',
            training_memory,
            *(network, config, row.shape, settings.batch_size, settings.dtype),
        )
        for parameter in network.parameters():
            parameter.grad = None  # kept if the step failed
    return network.cpu()


def _measure_times(
    rows: Sequence[Row], networks: Sequence[nn.Module | None], settings: Settings
) -> None:
    """Fill in latency and throughput."""
    functions = {}
    batches = {_LATENCY: 1, _THROUGHPUT: settings.batch_size}
    if settings.batch_size == 1:
        del batches[_THROUGHPUT]  # that of the latency
    for number, (row, network) in enumerate(zip(rows, networks, strict=True)):
        place = settings.device, settings.dtype
        if network is None or row.shape is None:
            continue
        if row.attempt('device', network.to, *place) is None:
            continue
        for kind, batch_size in batches.items():
            function = row.attempt(kind, forward_pass, network, row.shape, batch_size)
            # The first call warms up, and shows whether there is enough memory.
            if function and row.attempt(kind, function) is not None:
                functions[number, kind] = partial(_guarded, row, kind, function)
    if not functions:
        return
    _tell(f'timing in {settings.repeats} rounds')
    load, cpus = os.getloadavg()[0] if hasattr(os, 'getloadavg') else 0, os.cpu_count()
    if settings.device.type == 'cpu' and load > 1.5 * (cpus or 1):
        _tell(f'warning: busy machine (load {load:.1f}, {cpus} CPUs); times may be off')
    for (number, kind), seconds in take_turns(functions, settings.repeats).items():
        row = rows[number]
        if any(error.startswith(f'{kind}:') for error in row.errors):
            continue
        if kind == _LATENCY:
            row.latency = quartiles(seconds)
        if kind == _THROUGHPUT or settings.batch_size == 1:
            row.throughput = quartiles(batches[kind] / value for value in seconds)
    _tell('')


def _guarded(row: Row, kind: str, function: Callable[[], Any]) -> None:
    """Call a function unless it failed in an earlier round."""
    if not any(error.startswith(f'{kind}:') for error in row.errors):
        row.attempt(kind, function)


def _summary(row: Row) -> str:
    figures = [
        (row.multiply_adds, 1e9, 'G multiply-adds'),
        (row.parameters, 1e6, 'M parameters'),
        (row.training_bytes, 2**30, 'GiB for training'),
    ]
    parts = [f'{value / unit:.4g} {name}' for value, unit, name in figures if value]
    texts = [', '.join(parts), *row.errors]
    return f'{row.variant.name}: {"; ".join(text for text in texts if text)}'


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
