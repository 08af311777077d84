# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Figure of Grad-CAM for one or several networks (supplement, Fig. 1)."""

import difflib
import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from selfy_mmaction.atomic_files import replacing

from .grad_cam import ExplainedClip
from .grad_cam_layers import HEAD_INPUT

# Okabe-Ito's green and red, for right and wrong.
_GREEN, _RED, _NEUTRAL = '#009E73', '#D55E00', '#000000'
_COLORMAP = 'viridis'
_OPACITY = 0.5

# Inches.
_WIDTH = 12.0
_MARGIN = 0.15
_GAP = 0.04
_LINE = 0.22
_BAR = 0.62
_TALLEST_ROW = 4.0
_LETTERS_PER_LINE = 120


@dataclass(frozen=True, eq=False)
class ExplainedModel:
    """One row of the figure.

    Attributes:
        name: Name of the network.
        clip: Its map of the clip, from ``grad_cam``.
        class_names: Names of all its classes.
    """

    name: str
    clip: ExplainedClip
    class_names: Sequence[str]

    def __post_init__(self) -> None:
        if len(self.class_names) != len(self.clip.probabilities):
            raise ValueError(
                f'{self.name}: {len(self.class_names)} class names for a network of '
                f'{len(self.clip.probabilities)} classes'
            )

    @property
    def predicted_class(self) -> str:
        """Name of the most probable class."""
        return self.class_names[self.clip.predicted]

    def is_right(self, true_class: str | None) -> bool | None:
        """Whether the prediction is right; None if the true class is unknown."""
        return None if true_class is None else self.predicted_class == true_class


def overlay_maps(clip: ExplainedClip, opacity: float = _OPACITY) -> np.ndarray:
    """Lay the colors of the map over gray frames.

    Args:
        clip: The clip and its map.
        opacity: Weight of the colors, 0 to 1. Default: 0.5.

    Returns:
        The pictures, (T, H, W, 3), uint8, RGB.
    """
    # Luma of ITU-R BT.601. Colors of the frames would change those of the map.
    gray = clip.frames @ np.array([0.299, 0.587, 0.114])
    colors = 255 * matplotlib.colormaps[_COLORMAP](clip.maps)[..., :3]
    mixed = opacity * colors + (1 - opacity) * gray[..., None]
    return mixed.round().astype(np.uint8)


def check_true_class(true_class: str, class_names: Sequence[str], name: str) -> None:
    """Check that a network knows the true class.

    Args:
        true_class: Name of the true class.
        class_names: Names of the network's classes.
        name: Name of the network, for the message.

    Raises:
        ValueError: If there is no such class. The error lists similar names.

    Example:
        >>> from selfy_mmaction.visualization.grad_cam_figure import check_true_class
        >>> check_true_class('left', ['go_left', 'go_right'], 'SELFYNet')
        Traceback (most recent call last):
            ...
        ValueError: 'left' is not a class of SELFYNet; expected a name such as 'go_left'
    """
    if true_class not in class_names:
        shown = difflib.get_close_matches(true_class, class_names, n=5, cutoff=0.4)
        raise ValueError(
            f'{true_class!r} is not a class of {name}; expected a name such as '
            f'{", ".join(map(repr, shown or class_names[:5]))}'
        )


def draw_grad_cams(
    path: str | os.PathLike,
    models: Sequence[ExplainedModel],
    *,
    true_class: str | None = None,
    title: str = '',
    max_frames: int = 8,
) -> None:
    """Draw the maps of one or several networks for a clip, one row per network.

    Above each row are the network, its prediction in green if it is right and in red if
    it is wrong, and the explained class. The frames are above the first network, and
    again where a network sees others.

    Args:
        path: File to write; its suffix is the format, such as ``.png`` or ``.pdf``.
        models: The networks, at least one.
        true_class: Name of the true class. Default: None, unknown.
        title: First line of the figure, such as the name of the video. Default: none.
        max_frames: Most frames in a row. They are spread over the clip. Default: 8.

    Raises:
        OSError: If the file cannot be written.
        ValueError: If there is no network, the true class is not one of its classes, or
            the suffix is not known.
    """
    path = Path(path)
    if not models:
        raise ValueError('there is no network to draw; give at least one')
    if true_class is not None:
        for model in models:
            check_true_class(true_class, model.class_names, model.name)
    figure = _draw(models, true_class, title, max_frames)
    kinds = figure.canvas.get_supported_filetypes()
    kind = path.suffix.lower().removeprefix('.')
    if kind not in kinds:
        raise ValueError(f'{path} must end in one of .{", .".join(sorted(kinds))}')
    with replacing(path) as partial:
        figure.savefig(partial, format=kind, dpi=110)


@dataclass
class _Row:
    pictures: np.ndarray
    lines: list[tuple[str, str]]  # text and its color
    size: tuple[float, float]  # height and width of a picture
    numbers: list[int] | None = None  # of the frames; None with a map
    color: str = _NEUTRAL


def _draw(
    models: Sequence[ExplainedModel], true_class: str | None, title: str, most: int
) -> Figure:
    rows = _rows(models, true_class, most)
    heading = _wrap(title)
    if true_class is not None:
        heading += _wrap(f'true class: {true_class}')
    height = 2 * _MARGIN + _LINE * len(heading) + _BAR
    height += sum(_LINE * (len(row.lines) + 0.5) + row.size[0] for row in rows)
    figure = Figure(figsize=(_WIDTH, height))
    y = height - _MARGIN

    def write(text: str, color: str, size: float = 10) -> None:
        nonlocal y
        figure.text(
            _MARGIN / _WIDTH,
            (y - 0.75 * _LINE) / height,
            text,
            color=color,
            fontsize=size,
            fontweight='normal' if color == _NEUTRAL else 'bold',
            parse_math=False,
        )
        y -= _LINE

    for line in heading:
        write(line, _NEUTRAL, 11)
    for row in rows:
        for text, color in row.lines:
            write(text, color)
        y -= row.size[0]
        _draw_row(figure, row, y, height)
        y -= 0.5 * _LINE
    bar = figure.add_axes(
        (0.3, (_MARGIN + 0.35) / height, 0.4, 0.13 / height), label='bar'
    )
    figure.colorbar(
        ScalarMappable(cmap=_COLORMAP), cax=bar, orientation='horizontal'
    ).set_label('importance (each clip scaled to 0..1)', fontsize=9, labelpad=1)
    bar.tick_params(labelsize=8)
    return figure


def _rows(
    models: Sequence[ExplainedModel], true_class: str | None, most: int
) -> list[_Row]:
    rows: list[_Row] = []
    before = None
    for model in models:
        clip = model.clip
        count = min(most, len(clip.frames))
        shown = np.linspace(0, len(clip.frames) - 1, count).round().astype(int)
        ratio = clip.frames.shape[1] / clip.frames.shape[2]
        width = min(_widest_picture(count), _TALLEST_ROW / ratio)
        size = ratio * width, width
        if before is None or not np.array_equal(before, clip.frames):
            title = [('', _NEUTRAL)]  # room for the numbers of the frames
            rows.append(_Row(clip.frames[shown], title, size, shown.tolist()))
        before = clip.frames
        lines, color = _describe(model, true_class)
        rows.append(_Row(overlay_maps(clip)[shown], lines, size, color=color))
    return rows


def _describe(
    model: ExplainedModel, true_class: str | None
) -> tuple[list[tuple[str, str]], str]:
    """Return the lines above a row, and the color of the prediction."""
    clip = model.clip
    is_right = model.is_right(true_class)
    color = {None: _NEUTRAL, True: _GREEN, False: _RED}[is_right]
    word = {None: '', True: ', \N{CHECK MARK} right', False: ', \N{BALLOT X} wrong'}
    found = _percent(clip.probabilities[clip.predicted])
    prediction = f'{model.name}: {model.predicted_class}, {found}{word[is_right]}'
    explained = 'importance for the predicted class'
    if clip.label != clip.predicted:
        own = _percent(clip.probabilities[clip.label])
        explained = f'importance for {model.class_names[clip.label]}, {own}'
    if clip.layer != HEAD_INPUT:
        explained += f'; {clip.layer}'
    if clip.num_views > 1:
        explained += f'; view {clip.view + 1} of {clip.num_views}'
    if clip.is_empty:
        explained += '; nothing in the clip speaks for this class'
    lines = [(line, color) for line in _wrap(prediction)]
    return lines + [(line, _NEUTRAL) for line in _wrap(explained)], color


def _draw_row(figure: Figure, row: _Row, y: float, height: float) -> None:
    tall, width = row.size
    for column, picture in enumerate(row.pictures):
        x = _MARGIN + column * (width + _GAP)
        axes: Axes = figure.add_axes(
            (x / _WIDTH, y / height, width / _WIDTH, tall / height)
        )
        axes.imshow(picture)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color=row.color, linewidth=0.8 if row.numbers else 2)
        if row.numbers:
            axes.set_title(f'frame {row.numbers[column]}', fontsize=9, pad=3)


def _widest_picture(count: int) -> float:
    # Few frames would be too large.
    return (_WIDTH - 2 * _MARGIN - _GAP * (count - 1)) / max(count, 4)


def _percent(probability: float) -> str:
    return f'{100 * probability:.1f} %'


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, _LETTERS_PER_LINE)
