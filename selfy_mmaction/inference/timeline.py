# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Picture of the classes of a long video over time."""

import os
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from selfy_mmaction.atomic_files import replacing

from .prediction import Prediction
from .results import show_time

# As many as colors that are easy to tell apart.
_MOST_CLASSES = 7
_MOST_LETTERS = 40
# Seconds between ticks.
_STEPS = (10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


def draw_timeline(
    path: str | os.PathLike, windows: Sequence[Prediction], class_names: Sequence[str]
) -> None:
    """Draw the probabilities of the most probable classes over time.

    A strip below shows the most probable class of each window. Up to seven classes have
    a color: those that are most often the most probable one, then those that reach the
    highest probability, at least 10 %. In the strip, all others are gray.

    Args:
        path: File to write, such as ``timeline.png``.
        windows: Predictions for the windows of one video, in order; at least one.
        class_names: Names of all classes.

    Raises:
        OSError: If the file cannot be written.
    """
    probabilities = np.stack([window.probabilities for window in windows])
    best = probabilities.argmax(axis=1)
    wins = np.bincount(best, minlength=probabilities.shape[1])
    highest = probabilities.max(axis=0)
    order = np.lexsort((-highest, -wins))[:_MOST_CLASSES]
    order = order[(wins[order] > 0) | (highest[order] >= 0.1)]
    colors = dict(
        zip(order.tolist(), matplotlib.color_sequences['tab10'], strict=False)
    )
    starts = np.array([window.start for window in windows])
    ends = np.array([window.end or 0 for window in windows])
    centers = (starts + ends) / 2

    figure = Figure(figsize=(11, 4.2), layout='constrained')
    curves, strip = figure.subplots(
        2, 1, sharex=True, gridspec_kw=dict(height_ratios=[8, 1])
    )
    for label, color in colors.items():
        curves.plot(
            centers,
            probabilities[:, label],
            color=color,
            label=_legend_name(class_names[label]),
            linewidth=1.5,
            marker='o' if len(windows) <= 60 else None,
            markersize=3,
        )
    curves.set_ylim(-0.02, 1.02)
    curves.set_ylabel('probability')
    curves.grid(alpha=0.3)
    curves.set_title(_legend_name(os.path.basename(windows[0].video)), fontsize=10)
    # To the next window, since windows may overlap.
    edges = np.append(starts, ends[-1])
    strip.bar(
        starts,
        height=1,
        width=np.diff(edges),
        align='edge',
        color=[colors.get(int(label), 'lightgray') for label in best],
    )
    strip.set_yticks([])
    strip.set_ylabel('top-1', rotation=0, ha='right', va='center')
    strip.set_xlim(starts[0], max(ends[-1], starts[0] + 1e-3))
    strip.set_xlabel('time (h:mm:ss)' if ends[-1] >= 60 else 'time (s)')
    if ends[-1] >= 60:
        strip.xaxis.set_major_formatter(lambda value, _: show_time(value)[:-3])
        step = next((s for s in _STEPS if ends[-1] <= 10 * s), ends[-1] / 10)
        strip.xaxis.set_major_locator(MultipleLocator(step))
    figure.legend(
        *curves.get_legend_handles_labels(), loc='outside right upper', fontsize=9
    )
    with replacing(path) as partial:
        figure.savefig(partial, format='png', dpi=110)


def _legend_name(name: str) -> str:
    # A name that starts with an underscore would be left out of the legend, and dollar
    # signs would start a formula.
    text = name if len(name) <= _MOST_LETTERS else name[: _MOST_LETTERS - 1] + '…'
    text = text.replace('$', r'\$')
    return f' {text}' if text.startswith('_') else text
