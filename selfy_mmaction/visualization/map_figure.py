# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Similarity maps of query positions, drawn on the frames that they look at."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .panels import (
    MARK,
    name_frame,
    name_offset,
    outline_cell,
    panel_size,
    set_title,
    show_frame,
    show_outside,
)
from .queries import Query, check_queries
from .recorded_clip import RecordedClip

COLORS = 'viridis'
"""Colors of similarities."""

MOST_ROWS = 64
"""Most positions in one picture."""

BEST_MATCH: dict[str, Any] = dict(
    marker='s', markerfacecolor='none', markeredgecolor=MARK, markeredgewidth=1.5
)
SOFT_ARGMAX: dict[str, Any] = dict(
    marker='o', markerfacecolor='white', markeredgecolor='black', markeredgewidth=0.8
)

_ALPHA = 0.7  # of the maps: the frame shows through


def similarity_maps(clip: RecordedClip, query: Query) -> np.ndarray:
    """Return the similarities of a position, (L, U, V).

    NaN where there is nothing to compare with: outside the clip or the frame.
    """
    t, y, x = query
    rows, cols = (
        np.arange(size) - size // 2 + place
        for size, place in zip(clip.window, (y, x), strict=True)
    )
    in_rows = (rows >= 0) & (rows < clip.grid[0])
    in_cols = (cols >= 0) & (cols < clip.grid[1])
    inside = clip.inside[t][:, None, None] & in_rows[:, None] & in_cols
    return np.where(inside, clip.stss[t, y, x], np.nan)


def similarity_scale(clip: RecordedClip, queries: Sequence[Query]) -> Normalize:
    """Color scale from the lowest to the highest similarity of some positions."""
    values = np.stack([similarity_maps(clip, query) for query in queries])
    values = values[np.isfinite(values)]
    if not len(values):
        return Normalize(0, 1)
    low, high = values.min(), values.max()
    return Normalize(low, high if high > low else low + 1)


def draw_maps(clip: RecordedClip, queries: Sequence[Query]) -> Figure:
    """Draw a row per position: its frame, then a map per offset.

    Args:
        clip: The clip.
        queries: Positions (t, y, x).

    Raises:
        ValueError: If a position is not in the clip, or there are more than 64.
    """
    queries = check_queries(clip, queries)
    if len(queries) > MOST_ROWS:
        raise ValueError(
            f'{len(queries)} positions are too many for one picture; draw at most '
            f'{MOST_ROWS}'
        )
    width, height = panel_size(clip, 1.5)
    rows, cols = len(queries), 1 + len(clip.offsets)
    size = (max(width * cols + 0.8, 4.5), (height + 0.3) * rows + 0.8)
    figure = Figure(figsize=size, layout='constrained')
    panels = figure.subplots(rows, cols, squeeze=False)
    scale = similarity_scale(clip, queries)
    cell = 72 * min(width / clip.grid[1], height / clip.grid[0])  # in points
    mark = float(np.clip(0.35 * cell, 2, 4))
    for row, query in zip(panels, queries, strict=True):
        t, y, x = query
        show_frame(row[0], clip, t)
        outline_cell(row[0], clip, y, x)
        row[0].set_title(name_frame(clip, t), fontsize=8)
        row[0].set_ylabel(f'row {y}, column {x}', fontsize=8)
        for index, axes in enumerate(row[1:]):
            draw_map(axes, clip, query, index, scale, mark)
            axes.set_title(name_offset(clip, t, index), fontsize=8)
    bar = figure.colorbar(
        ScalarMappable(scale, COLORS), ax=panels, fraction=0.02, pad=0.01, shrink=0.9
    )
    bar.set_label('similarity', fontsize=8)
    bar.ax.tick_params(labelsize=7)
    figure.legend(
        handles=[
            Line2D([], [], linestyle='', label=label, markersize=size, **style)
            for label, size, style in (
                ('query position, best match', 7, BEST_MATCH),
                ('soft-argmax', 5, SOFT_ARGMAX),
            )
        ],
        loc='outside lower center',
        ncols=2,
        fontsize=8,
        frameon=False,
    )
    set_title(figure, 'Where does a position find itself in other frames?', clip)
    return figure


def draw_map(
    axes: Axes,
    clip: RecordedClip,
    query: Query,
    index: int,
    scale: Normalize,
    mark: float = 4,
) -> None:
    """Draw the map of one position and one offset on the frame that it looks at.

    Args:
        axes: Where to draw. Its coordinates become pixels of the frame.
        clip: The clip.
        query: The position (t, y, x).
        index: Index of the offset.
        scale: Color scale of the similarities.
        mark: Size of the mark of the soft-argmax, in points. Default: 4.
    """
    t, y, x = query
    if not clip.inside[t, index]:
        show_outside(axes, clip)
        return
    show_frame(axes, clip, t + clip.offsets[index], gray=True)
    (rows, cols), (height, width) = clip.window, clip.cell_size
    top, left = (y - rows // 2) * height, (x - cols // 2) * width
    axes.imshow(
        similarity_maps(clip, query)[index],
        cmap=COLORS,
        norm=scale,
        alpha=_ALPHA,
        extent=(left, left + cols * width, top + rows * height, top),
        interpolation='nearest',
    )
    u, v = clip.best_match[t, y, x, index]
    outline_cell(axes, clip, y + u, x + v, linewidth=0.4 * mark)
    u, v = clip.displacement[t, y, x, index]
    center_y, center_x = clip.cell_center(y + u, x + v)
    axes.plot(center_x, center_y, markersize=mark, **SOFT_ARGMAX)
    axes.set(xlim=(0, clip.frames.shape[2]), ylim=(clip.frames.shape[1], 0))
