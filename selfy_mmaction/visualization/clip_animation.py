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
    EMPTY,
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

_MAPS = (0.685, 0.02, 0.935, 0.86)  # left, bottom, right and top of the maps
_GAP, _TITLE_HEIGHT = 0.05, 0.15  # of the maps, in inches


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
    title = f'{readable(clip.video, 40)}: {readable(clip.source, 40)}'
    figure.text(0.008, 0.97, title, fontsize=8, va='top', parse_math=False)
    frame, field, wheel = (
        figure.add_axes(box)
        for box in (
            (0.005, 0.09, 0.275, 0.73),
            (0.288, 0.09, 0.275, 0.73),
            (0.566, 0.25, 0.105, 0.42),
        )
    )
    title = 'no frame: outside the clip'
    if clip.inside[t, near]:
        draw_arrows(frame, clip, t, near, confidence, most=14, gray=False)
        draw_field(field, clip, t, near, colors)
        title = name_frame(clip, t + clip.offsets[near])
    else:
        show_frame(frame, clip, t)
        show_outside(field, clip)
    outline_cell(frame, clip, y, x)
    frame.set_title(name_frame(clip, t), fontsize=8, pad=3)
    field.set_title(f'motion to {title}', fontsize=8, pad=3)
    legend = 'arrows: yellow is confident, dark blue has no match'
    figure.text(0.008, 0.04, legend, fontsize=7, va='center')
    draw_wheel(wheel, colors, fontsize=6)
    _draw_maps(figure, clip, query, similarity)
    return figure


def _draw_maps(
    figure: Figure, clip: RecordedClip, query: Query, similarity: Normalize
) -> None:
    (_, y, x), (rows, cols) = query, clip.window
    height, width = clip.cell_size
    boxes = _place_panels(len(clip.offsets), width * cols / (height * rows))
    for index, (offset, box) in enumerate(zip(clip.offsets, boxes, strict=True)):
        axes = figure.add_axes(box)
        draw_map(axes, clip, query, index, similarity, mark=2.5)
        axes.set(
            facecolor=EMPTY,
            xlim=((x - cols // 2) * width, (x + cols // 2 + 1) * width),
            ylim=((y + rows // 2 + 1) * height, (y - rows // 2) * height),
        )
        axes.set_title(f'l = {offset:+d}' if offset else 'l = 0', fontsize=6, pad=2)
    text = 'where the marked position\nis in other frames'
    figure.text(_MAPS[0], 0.97, text, fontsize=8, va='top')
    bar = figure.colorbar(
        ScalarMappable(similarity, COLORS),
        cax=figure.add_axes((0.945, 0.12, 0.01, 0.6)),
    )
    bar.set_label('similarity', fontsize=6, labelpad=2)
    bar.ax.tick_params(labelsize=5, length=2, pad=1)


def _place_panels(count: int, ratio: float) -> list[tuple[float, float, float, float]]:
    """Choose (left, bottom, width, height) of the largest panels that fit in the area.

    Args:
        count: Number of panels.
        ratio: Width of a panel divided by its height.

    Returns:
        Boxes as fractions of the figure, row by row.
    """
    left, bottom, right, top = _MAPS
    area_width, area_height = SIZE[0] * (right - left), SIZE[1] * (top - bottom)

    def panel_width(columns: int) -> float:
        rows = math.ceil(count / columns)
        return min(
            area_width / columns - _GAP, ratio * (area_height / rows - _TITLE_HEIGHT)
        )

    columns = max(range(1, count + 1), key=panel_width)
    width = panel_width(columns)
    height = width / ratio
    return [
        (
            left + column * (width + _GAP) / SIZE[0],
            top - (row + 1) * (height + _TITLE_HEIGHT) / SIZE[1],
            width / SIZE[0],
            height / SIZE[1],
        )
        for row, column in (divmod(index, columns) for index in range(count))
    ]
