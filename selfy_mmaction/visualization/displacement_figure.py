# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Displacement per offset as arrows and colors, and its confidence."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

from selfy_mmaction.ops.option_checks import check_int

from .color_wheel import color_displacements, color_scale, draw_wheel
from .panels import (
    bare,
    name_frame,
    name_offset,
    panel_size,
    set_title,
    show_frame,
    show_outside,
)
from .recorded_clip import RecordedClip

CONFIDENCE_COLORS = 'cividis'

_MOST_ARROWS = 20  # on the longer side of a panel


def shown_offsets(clip: RecordedClip) -> list[int]:
    """Indices of the offsets with motion: all but 0, unless there is no other one.

    At the offset 0, a position is compared with its own frame and finds itself.
    """
    return [i for i, offset in enumerate(clip.offsets) if offset] or [0]


def confidence_scale(clip: RecordedClip) -> Normalize:
    """Color scale of the confidence, the same for all frames of a clip."""
    values = clip.confidence[..., shown_offsets(clip)]
    values = values[np.isfinite(values)]
    if not len(values):
        return Normalize(0, 1)
    # A few positions at the border of the frame match nothing.
    low, high = np.percentile(values, 1), values.max()
    return Normalize(low, high if high > low else low + 1)


def draw_displacement(clip: RecordedClip, t: int | None = None) -> Figure:
    """Draw a column per offset: arrows, a color field, and the confidence.

    Args:
        clip: The clip.
        t: The frame whose positions are drawn. Default: None, the one in the middle.

    Raises:
        ValueError: If there is no such frame.
    """
    if t is None:
        t = len(clip.frames) // 2
    check_int('t', t, least=0, most=len(clip.frames) - 1)
    indices = shown_offsets(clip)
    width, height = panel_size(clip, 1.7)
    size = (max(width * len(indices) + 1.8, 4.5), (height + 0.15) * 3 + 0.8)
    figure = Figure(figsize=size, layout='constrained')
    grid = figure.add_gridspec(
        3, len(indices) + 1, width_ratios=[*[width] * len(indices), 1.3]
    )
    panels = np.array(
        [
            [figure.add_subplot(grid[i, j]) for j in range(len(indices))]
            for i in range(3)
        ]
    )
    scale, confidence = color_scale(clip), confidence_scale(clip)
    for column, index in zip(panels.T, indices, strict=True):
        column[0].set_title(name_offset(clip, t, index), fontsize=8)
        if not clip.inside[t, index]:
            for axes in column:
                show_outside(axes, clip)
            continue
        draw_arrows(column[0], clip, t, index, confidence)
        draw_field(column[1], clip, t, index, scale)
        _draw_confidence(column[2], clip, t, index, confidence)
    labels = ('arrows:\nsoft-argmax', 'colors:\ndirection, length', 'confidence')
    for axes, label in zip(panels[:, 0], labels, strict=True):
        axes.set_ylabel(label, fontsize=8)
    draw_wheel(figure.add_subplot(grid[1, -1]), scale)
    for row in (0, 2):
        holder = figure.add_subplot(grid[row, -1])
        holder.axis('off')
        bar = figure.colorbar(
            ScalarMappable(confidence, CONFIDENCE_COLORS),
            cax=holder.inset_axes((0.0, 0.02, 0.12, 0.96)),
        )
        bar.set_label('highest similarity\n(low: occluded or no match)', fontsize=7)
        bar.ax.tick_params(labelsize=7)
    set_title(
        figure,
        f'Where are the positions of {name_frame(clip, t)} in other frames?',
        clip,
    )
    return figure


def draw_arrows(
    axes: Axes,
    clip: RecordedClip,
    t: int,
    index: int,
    confidence: Normalize,
    most: int = _MOST_ARROWS,
    gray: bool = True,
) -> Quiver:
    """Draw the displacements of a frame as arrows, in the colors of the confidence.

    An arrow begins at a position of frame t and ends where frame t + l has its match.

    Args:
        axes: Where to draw. Its coordinates become pixels of the frame.
        clip: The clip.
        t: The frame.
        index: Index of the offset.
        confidence: Color scale of the confidence.
        most: Largest number of arrows on the longer side; others are left out evenly.
            Default: 20.
        gray: Whether the frame is pale gray. Default: True.
    """
    show_frame(axes, clip, t, gray)
    step = -(-max(clip.grid) // most)
    steps = [slice((n - 1) % step // 2, None, step) for n in clip.grid]
    rows, cols = (np.arange(n)[s] for n, s in zip(clip.grid, steps, strict=True))
    height, width = clip.cell_size
    u, v = np.moveaxis(clip.displacement[t, ..., index, :][tuple(steps)], -1, 0)
    return axes.quiver(
        (cols + 0.5) * width,
        (rows + 0.5) * height,
        v * width,
        u * height,
        clip.confidence[t, ..., index][tuple(steps)],
        cmap=CONFIDENCE_COLORS,
        norm=confidence,
        angles='xy',
        scale_units='xy',
        scale=1,
        units='inches',
        width=0.022,
        headwidth=4,
        headlength=4,
        headaxislength=3.5,
        minlength=0.5,
        edgecolor='black',
        linewidth=0.4,
    )


def draw_field(
    axes: Axes, clip: RecordedClip, t: int, index: int, scale: float
) -> None:
    """Draw the displacements of a frame as colors, see :func:`color_displacements`."""
    _draw_cells(
        axes, clip, color_displacements(clip.displacement[t, ..., index, :], scale)
    )


def _draw_confidence(
    axes: Axes, clip: RecordedClip, t: int, index: int, scale: Normalize
) -> None:
    _draw_cells(axes, clip, clip.confidence[t, ..., index], scale)


def _draw_cells(
    axes: Axes, clip: RecordedClip, values: np.ndarray, scale: Normalize | None = None
) -> None:
    height, width = clip.frames.shape[1:3]
    axes.imshow(
        values,
        cmap=CONFIDENCE_COLORS,
        norm=scale,
        extent=(0, width, height, 0),
        interpolation='nearest',
    )
    bare(axes, clip)
