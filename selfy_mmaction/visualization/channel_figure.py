# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Channels of the extraction, and what the integration makes of them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from selfy_mmaction.ops.option_checks import check_int

from .panels import (
    name_frame,
    name_offset,
    panel_size,
    set_title,
    show_frame,
    show_outside,
)
from .recorded_clip import RecordedClip

_MOST_FRAMES = 8
_ALPHA = 0.8  # of the maps: the frame shows through


def draw_channels(clip: RecordedClip, t: int | None = None, top: int = 3) -> Figure:
    """Draw the most active channels per offset, and after the integration per frame.

    Active is a channel with a large mean absolute value over the positions.

    Args:
        clip: The clip.
        t: The frame whose extraction is drawn. Default: None, the one in the middle.
        top: Channels per offset and frame. Default: 3.

    Raises:
        ValueError: If the clip was recorded without a block, or an argument is wrong.
    """
    if clip.extraction is None or clip.integration is None:
        raise ValueError(
            f'{clip.video} was recorded without a SELFY block ({clip.source}), so '
            'there are no channels of an extraction to draw; record it '
            'with the config and checkpoint of a network with a block'
        )
    count = len(clip.frames)
    t = count // 2 if t is None else t
    check_int('t', t, least=0, most=count - 1)
    check_int('top', top)
    frames = np.unique(np.linspace(0, count - 1, min(count, _MOST_FRAMES)).round())
    width, height = panel_size(clip, 1.4)
    rows = [min(top, clip.extraction.shape[-1]), min(top, clip.integration.shape[1])]
    most = max(len(clip.offsets), len(frames))
    size = (
        max(width * most + 1.2, 4.5),
        (height + 0.3) * sum(rows) + 1.3,
    )
    figure = Figure(figsize=size, layout='constrained')
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=rows)[:, 0]
    upper.suptitle(
        f'Extraction of {name_frame(clip, t)}: {_most(rows[0])} of '
        f'{clip.extraction.shape[-1]} per offset',
        fontsize=8,
    )
    columns = [
        (
            name_offset(clip, t, index),
            t if clip.inside[t, index] else None,
            np.moveaxis(clip.extraction[t, :, :, index], -1, 0),
        )
        for index in range(len(clip.offsets))
    ]
    _draw_section(upper, clip, columns, rows[0], most)
    lower.suptitle(
        f'Integration: {_most(rows[1])} of {clip.integration.shape[1]} per frame',
        fontsize=8,
    )
    columns = [
        (name_frame(clip, int(t)), int(t), clip.integration[int(t)]) for t in frames
    ]
    _draw_section(lower, clip, columns, rows[1], most)
    set_title(figure, 'What does the block make of the similarities?', clip)
    return figure


def most_active(channels: np.ndarray, top: int) -> list[int]:
    """Return the channels of (C, h, w) with the largest mean absolute value."""
    activity = np.abs(channels).mean(axis=(1, 2))
    return np.argsort(-activity, kind='stable')[:top].tolist()


def _most(top: int) -> str:
    return 'the most active channel' if top == 1 else f'the {top} most active channels'


def _draw_section(
    figure: SubFigure,
    clip: RecordedClip,
    columns: list[tuple[str, int | None, np.ndarray]],
    top: int,
    width: int,
) -> None:
    """Draw a column of channel maps per (title, frame or None, channels).

    Empty columns are added up to ``width``.
    """
    panels = figure.subplots(top, width, squeeze=False)
    for axes in panels[:, len(columns) :].flat:
        axes.axis('off')
    chosen = [most_active(channels, top) for _, _, channels in columns]
    values = np.concatenate(
        [
            channels[best]
            for (_, t, channels), best in zip(columns, chosen, strict=True)
            if t is not None
        ]
    )
    scale, colors = _choose_colors(values)
    for column, (title, t, channels), best in zip(
        panels.T[: len(columns)], columns, chosen, strict=True
    ):
        for axes, channel in zip(column, best, strict=True):
            if t is None:
                show_outside(axes, clip)
                continue
            _draw_channel(axes, clip, t, channels[channel], scale, colors)
            axes.set_title(f'channel {channel}', fontsize=7, pad=2)
        text = title if t is None else f'{title}\n{column[0].get_title()}'
        column[0].set_title(text, fontsize=7, pad=2)
    bar = figure.colorbar(
        ScalarMappable(scale, colors),
        ax=panels[:, : len(columns)],
        fraction=0.03,
        pad=0.01,
        shrink=0.9,
    )
    bar.set_label('value of the channel', fontsize=7)
    bar.ax.tick_params(labelsize=7)


def _choose_colors(values: np.ndarray) -> tuple[Normalize, str]:
    most = float(np.abs(values).max()) or 1.0
    # Zero is white if there are signs.
    if values.min() < 0:
        return Normalize(-most, most), 'PuOr'
    return Normalize(0, most), 'cividis'


def _draw_channel(
    axes: Axes,
    clip: RecordedClip,
    t: int,
    channel: np.ndarray,
    scale: Normalize,
    colors: str,
) -> None:
    show_frame(axes, clip, t, gray=True)
    height, width = clip.frames.shape[1:3]
    axes.imshow(
        channel,
        cmap=colors,
        norm=scale,
        alpha=_ALPHA,
        extent=(0, width, height, 0),
        interpolation='nearest',
    )
