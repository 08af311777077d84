# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""A clip as a moving picture: arrows, colors and the maps of one position."""

import math
from collections.abc import Iterator

from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from .color_wheel import color_scale, draw_wheel
from .displacement_figure import (
    confidence_scale,
    draw_arrows,
    draw_field,
    shown_offsets,
)
from .map_figure import COLORS, draw_map, similarity_scale
from .panels import (
    MARK,
    name_frame,
    outline_cell,
    readable,
    show_frame,
    show_outside,
)
from .queries import Query, check_queries, follow
from .recorded_clip import RecordedClip

SIZE = (8.0, 3.1)
"""Width and height in inches; at 100 pixels per inch, 800x310 pixels."""


def draw_clip(
    clip: RecordedClip, query: Query, follows: bool = True
) -> Iterator[Figure]:
    """Draw a figure per frame, of one size and layout, for :func:`write_animation`.

    On the left are the arrows to the next frame (to the nearest one that the clip was
    compared with), then their colors, then the maps of one position over all offsets.

    Args:
        clip: The clip.
        query: The position (t, y, x) whose maps are drawn.
        follows: Whether the position moves with its best match from frame to frame, as
            in :func:`follow`. Default: True.

    Yields:
        One figure per frame.

    Raises:
        ValueError: If the position is not in the clip.
    """
    [(_, y, x)] = check_queries(clip, [query])
    count = len(clip.frames)
    path = follow(clip, query) if follows else [(t, y, x) for t in range(count)]
    near = min(
        shown_offsets(clip), key=lambda i: (abs(clip.offsets[i]), -clip.offsets[i])
    )
    scales = color_scale(clip), confidence_scale(clip), similarity_scale(clip, path)
    return (_draw_frame(clip, each, near, *scales) for each in path)


def _draw_frame(
    clip: RecordedClip,
    query: Query,
    near: int,
    colors: float,
    confidence: Normalize,
    similarity: Normalize,
) -> Figure:
    t, y, x = query
    # Fixed places: what does not move in the video must not move in the picture.
    figure = Figure(figsize=SIZE)
    title = f'{readable(clip.video)}: {readable(clip.source)}'
    figure.text(0.01, 0.985, title, fontsize=8, va='top', parse_math=False)
    frame, field, wheel = (
        figure.add_axes(box)
        for box in (
            (0.005, 0.03, 0.285, 0.8),
            (0.3, 0.03, 0.285, 0.8),
            (0.59, 0.25, 0.105, 0.36),
        )
    )
    there = t + clip.offsets[near]
    if clip.inside[t, near]:
        draw_arrows(frame, clip, t, near, confidence, most=14)
        draw_field(field, clip, t, near, colors)
    else:
        show_frame(frame, clip, t, gray=True)
        show_outside(field, clip)
    outline_cell(frame, clip, y, x, edgecolor=MARK, linewidth=1.8)
    frame.set_title(f'{name_frame(clip, t)}, and arrows', fontsize=8, pad=3)
    field.set_title(f'to {_describe(there, len(clip.frames))}', fontsize=8, pad=3)
    draw_wheel(wheel, colors, fontsize=6)
    _draw_maps(figure, clip, query, similarity)
    return figure


def _describe(frame: int, count: int) -> str:
    return f'frame {frame}' if 0 <= frame < count else 'no frame: outside the clip'


def _draw_maps(
    figure: Figure, clip: RecordedClip, query: Query, similarity: Normalize
) -> None:
    count = len(clip.offsets)
    cols = math.ceil(count**0.5)
    grid = figure.add_gridspec(
        math.ceil(count / cols),
        cols,
        left=0.71,
        right=0.935,
        bottom=0.03,
        top=0.83,
        wspace=0.05,
        hspace=0.22,
    )
    for index, (place, offset) in enumerate(zip(grid, clip.offsets, strict=False)):
        axes = figure.add_subplot(place)
        draw_map(axes, clip, query, index, similarity, fontsize=5)
        axes.set_title(f'l = {offset:+d}' if offset else 'l = 0', fontsize=6, pad=2)
    figure.text(0.71, 0.9, 'maps of the marked position', fontsize=8, va='center')
    bar = figure.colorbar(
        ScalarMappable(similarity, COLORS),
        cax=figure.add_axes((0.943, 0.1, 0.01, 0.65)),
    )
    bar.set_label('similarity', fontsize=6, labelpad=2)
    bar.ax.tick_params(labelsize=5, length=2, pad=1)
