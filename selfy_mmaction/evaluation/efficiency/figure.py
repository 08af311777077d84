# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Figure of accuracy against cost."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from selfy_mmaction.atomic_files import replacing

from .measure import Row, Settings
from .report import describe_settings

#: What the x axis may show.
COSTS = ('multiply-adds', 'latency')

# Okabe-Ito, which color-blind people can tell apart, without yellow on white.
_COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
_MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*')


def draw_accuracy(
    path: str | os.PathLike,
    rows: Sequence[Row],
    settings: Settings,
    cost: str = 'multiply-adds',
) -> Figure:
    """Draw reported accuracies against measured costs, one panel per dataset.

    Args:
        path: Picture to write, such as ``efficiency.png``.
        rows: Rows; those without an accuracy or the cost are omitted.
        settings: How they were measured.
        cost: One of :data:`COSTS`. Default: ``'multiply-adds'``.

    Returns:
        The figure.

    Raises:
        OSError: If the file cannot be written.
        ValueError: If no row has both an accuracy and the cost.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from mmengine.config import Config
        >>> from selfy_mmaction.evaluation.efficiency import figure, measure, reported
        >>> known = reported.Reported('paper', 'sthv1', {'Top 1 Accuracy': 52.5})
        >>> variant = measure.Variant('selfy', 'selfy.py', Config(), {}, known)
        >>> row = measure.Row(variant, (8, 3, 224, 224), multiply_adds=37_000_000_000)
        >>> settings = measure.Settings(torch.device('cpu'))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     drawn = figure.draw_accuracy(f'{folder}/costs.png', [row], settings)
        >>> drawn.axes[0].get_title()
        'sthv1'
    """
    panels: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        reported = row.variant.reported
        figure_of_cost = row.multiply_adds if cost == COSTS[0] else row.latency
        if reported and figure_of_cost:
            key = reported.dataset, next(iter(reported.metrics)), reported.source
            panels.setdefault(key, []).append(row)
    if not panels:
        raise ValueError(f'no network has both a reported accuracy and {cost}')
    names = dict(zip(map(id, rows), _short_names(rows), strict=True))
    height = max(4.2, 0.24 * len(rows))
    figure = Figure(figsize=(9 * len(panels), height), layout='constrained')
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, ((dataset, metric, source), found) in zip(
        all_axes, panels.items(), strict=True
    ):
        # 7 colors and 8 markers: each pair comes once in 56.
        styles = zip(itertools.cycle(_COLORS), itertools.cycle(_MARKERS), strict=False)
        for row, (color, marker) in zip(found, styles, strict=False):
            _draw_point(axes, row, cost, names[id(row)], color, marker)
        by = 'reported by the paper' if source == 'paper' else 'from the metafile'
        axes.set_ylabel(f'{metric.lower()} (%), {by}')
        axes.set_title(dataset, fontsize=10)
        axes.margins(0.12)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc='upper left', bbox_to_anchor=(1.01, 1.01))
        if cost == COSTS[0]:
            axes.set_xlabel('multiply-adds per clip (G), counted by mmengine')
        else:
            device = describe_settings(settings)['device_name']
            axes.set_xlabel(f'latency of one clip (ms) on {device}')
    with replacing(path) as partial:
        figure.savefig(partial, dpi=130, format=Path(path).suffix[1:].lower())
    return figure


def _draw_point(
    axes: Axes, row: Row, cost: str, name: str, color: str, marker: str
) -> None:
    assert row.variant.reported  # checked by the caller
    accuracy = next(iter(row.variant.reported.metrics.values()))
    note = row.variant.reported.note
    label = f'{name} ({note})' if note else name
    style: dict[str, Any] = dict(
        color=color, marker=marker, linestyle='none', label=label
    )
    if cost == COSTS[0]:
        axes.plot([(row.multiply_adds or 0) / 1e9], [accuracy], **style)
        return
    low, median, high = (1000 * value for value in row.latency or ())
    spread = [[median - low], [high - median]]
    axes.errorbar([median], [accuracy], xerr=spread, capsize=3, **style)


def _short_names(rows: Sequence[Row]) -> list[str]:
    """Name networks by model and frames, or in full where that is not unique."""

    def frames(row: Row) -> int:
        shape = row.shape or (0,)
        return shape[0] if len(shape) == 4 else shape[2] if len(shape) == 5 else 0

    short = [
        f'{row.variant.name.partition("_")[0]}, {frames(row)} frames' for row in rows
    ]
    return [
        name if short.count(name) == 1 else row.variant.name
        for name, row in zip(short, rows, strict=True)
    ]
