# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""A clip as a moving picture: arrows, colors and the maps of one position."""

from collections.abc import Iterator
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from .clip_layout import WIDTH, Box, Layout, lay_out
from .color_wheel import color_scale, draw_wheel
from .displacement_figure import (
    CONFIDENCE_COLORS,
    confidence_scale,
    draw_arrows,
    draw_field,
    shown_offsets,
)
from .map_figure import (
    BEST_MATCH,
    COLORS,
    SOFT_ARGMAX,
    draw_map,
    similarity_scale,
)
from .panels import (
    EMPTY,
    MARK,
    name_frame,
    outline_cell,
    readable,
    show_frame,
    show_outside,
)
from .queries import Query, check_queries, follow
from .recorded_clip import RecordedClip

_DPI = 100  # of figures that are rendered
_FONT = 8  # points: capital letters are 8 pixels high


def draw_clip(
    clip: RecordedClip, query: Query, follows: bool = True
) -> Iterator[Figure]:
    """Draw a figure per frame, of one size and layout, for :func:`write_animation`.

    There are the frame with arrows to the next one (to the nearest one that the clip
    was compared with), the same motion as colors, and the maps of one position over all
    offsets. The figures are 800 pixels wide at 100 pixels per inch; the layout depends
    on the shape of the frames, see :func:`lay_out`.

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
    (rows, cols), (height, width) = clip.window, clip.cell_size
    layout = lay_out(
        clip.frames.shape[2] / clip.frames.shape[1],
        width * cols / (height * rows),
        len(clip.offsets),
    )
    scales = color_scale(clip), confidence_scale(clip), similarity_scale(clip, path)
    return (_draw_frame(clip, each, near, layout, *scales) for each in path)


def _draw_frame(
    clip: RecordedClip,
    query: Query,
    near: int,
    layout: Layout,
    colors: float,
    confidence: Normalize,
    similarity: Normalize,
) -> Figure:
    t, y, x = query
    # Fixed places: what does not move in the video must not move in the picture.
    figure = Figure(figsize=(WIDTH / _DPI, layout.height / _DPI))
    title = f'{readable(clip.video, 50)}: {readable(clip.source, 50)}'
    _write(figure, layout.frame[0], 6, title, parse_math=False)
    frame, field = (_add_axes(figure, box) for box in (layout.frame, layout.field))
    title = 'motion'
    if clip.inside[t, near]:
        draw_arrows(frame, clip, t, near, confidence, gray=False)
        draw_field(field, clip, t, near, colors)
        title = f'motion to {name_frame(clip, t + clip.offsets[near])}'
    else:
        show_frame(frame, clip, t)
        show_outside(field, clip, _FONT)
    _outline_window(frame, clip, y, x)
    outline_cell(frame, clip, y, x)
    frame.set_title(name_frame(clip, t), fontsize=_FONT, fontweight='bold', pad=4)
    field.set_title(title, fontsize=_FONT, pad=4)
    draw_wheel(_add_axes(figure, layout.wheel), colors, _FONT)
    _draw_legend(figure, layout)
    _draw_maps(figure, clip, query, layout, similarity)
    return figure


def _draw_maps(
    figure: Figure,
    clip: RecordedClip,
    query: Query,
    layout: Layout,
    similarity: Normalize,
) -> None:
    (_, y, x), (rows, cols) = query, clip.window
    height, width = clip.cell_size
    text = 'where the marked position is, l frames away'
    _write(figure, layout.maps[0][0], layout.frame[1] - 15, text)
    cell = 72 / _DPI * min(layout.maps[0][2] / cols, layout.maps[0][3] / rows)
    for index, (offset, box) in enumerate(zip(clip.offsets, layout.maps, strict=True)):
        axes = _add_axes(figure, box)
        draw_map(axes, clip, query, index, similarity, mark=min(max(cell / 2, 2.5), 4))
        axes.set(
            facecolor=EMPTY,
            xlim=((x - cols // 2) * width, (x + cols // 2 + 1) * width),
            ylim=((y + rows // 2 + 1) * height, (y - rows // 2) * height),
        )
        title = f'l = {offset:+d}' if offset else 'l = 0'
        axes.set_title(title, fontsize=_FONT, pad=3)
    bar = figure.colorbar(
        ScalarMappable(similarity, COLORS),
        cax=_add_axes(figure, layout.bar),
        orientation='vertical' if layout.vertical else 'horizontal',
        ticks=MaxNLocator(4),
    )
    bar.set_label('similarity', fontsize=_FONT, labelpad=2)
    bar.ax.tick_params(labelsize=_FONT, length=2, pad=2)


def _draw_legend(figure: Figure, layout: Layout) -> None:
    window: dict[str, Any] = dict(BEST_MATCH, markeredgewidth=0.8, markersize=9)
    arrow: dict[str, Any] = dict(marker='>', markeredgecolor='black', markersize=6)
    least, most = colormaps[CONFIDENCE_COLORS]([0.0, 1.0])
    handles = [
        Line2D([], [], linestyle='', label=label, **style)
        for label, style in (
            ('marked position; best match in a map', dict(BEST_MATCH, markersize=6)),
            ('window around it that the maps show', window),
            ('soft-argmax of a map: the motion', dict(SOFT_ARGMAX, markersize=5)),
            ('yellow arrow: confident', dict(arrow, markerfacecolor=most)),
            ('dark blue arrow: no match', dict(arrow, markerfacecolor=least)),
        )
    ]
    left, top = layout.legend
    figure.legend(
        handles=handles,
        loc='upper left',
        bbox_to_anchor=(left / WIDTH, 1 - top / layout.height),
        fontsize=_FONT,
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handlelength=1.2,
        labelspacing=0.55,
    )


def _outline_window(axes: Axes, clip: RecordedClip, y: int, x: int) -> None:
    (rows, cols), (height, width) = clip.window, clip.cell_size
    place = (x - cols // 2) * width, (y - rows // 2) * height
    size = cols * width, rows * height
    style: dict[str, Any] = dict(fill=False, edgecolor=MARK, linewidth=1.2)
    axes.add_patch(Rectangle(place, *size, **style))


def _add_axes(figure: Figure, box: Box) -> Axes:
    left, top, width, height = box
    total = _DPI * figure.get_figheight()
    bottom = 1 - (top + height) / total
    return figure.add_axes((left / WIDTH, bottom, width / WIDTH, height / total))


def _write(figure: Figure, left: float, top: float, text: str, **style: Any) -> None:
    place = left / WIDTH, 1 - top / (_DPI * figure.get_figheight())
    figure.text(*place, text, fontsize=_FONT, va='top', **style)
