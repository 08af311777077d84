# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Parts of several pictures: frames in pixels, marks and titles."""

from functools import cache

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from .recorded_clip import RecordedClip

MARK = '#D55E00'
"""Color of query positions and best matches, unlike all of cividis and viridis."""

EMPTY = '#f2f2f2'
"""Color of what is outside the clip or the frame."""

OUTSIDE = 'outside\nthe clip'


def panel_size(clip: RecordedClip, side: float) -> tuple[float, float]:
    """Width and height in inches of a panel for a frame, with the area of a square.

    Very wide or high frames get more empty space around them instead.
    """
    height, width = clip.frames.shape[1:3]
    stretch = float(np.clip((width / height) ** 0.5, 0.6, 1.6))
    return side * stretch, side / stretch


def show_frame(axes: Axes, clip: RecordedClip, t: int, gray: bool = False) -> None:
    """Show a frame. Coordinates of the axes are pixels.

    Args:
        axes: Where to draw.
        clip: The clip.
        t: The frame.
        gray: Whether to show it in pale gray, as a background of colors. Default:
            False.
    """
    frame = clip.frames[t]
    if gray:
        # Halfway to white. Rec. 601, as in PIL and OpenCV.
        frame = 0.5 + frame.astype(np.float32) @ (0.299, 0.587, 0.114) / 510
    height, width = frame.shape[:2]
    axes.imshow(
        frame, cmap='gray', vmin=0, vmax=1, extent=(0, width, height, 0), zorder=0
    )
    bare(axes, clip)


def bare(axes: Axes, clip: RecordedClip) -> None:
    """Give axes the coordinates of a frame and no ticks."""
    height, width = clip.frames.shape[1:3]
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], aspect='equal')


def say_outside(axes: Axes, fontsize: float) -> None:
    """Write into an empty panel that it is outside the clip."""
    axes.set_facecolor(EMPTY)
    axes.text(
        0.5,
        0.5,
        OUTSIDE,
        transform=axes.transAxes,
        ha='center',
        va='center',
        fontsize=fontsize,
        color='#555555',
    )


def show_outside(axes: Axes, clip: RecordedClip, fontsize: float = 8) -> None:
    """Leave the panel of a frame empty, and say why."""
    bare(axes, clip)
    say_outside(axes, fontsize)
    for spine in axes.spines.values():
        spine.set(color='#bbbbbb', linestyle=':')


def outline_cell(
    axes: Axes, clip: RecordedClip, y: float, x: float, linewidth: float = 1.8
) -> None:
    """Outline a cell of the matching grid, with a halo to be seen on any frame."""
    height, width = clip.cell_size
    axes.add_patch(
        Rectangle(
            (x * width, y * height),
            width,
            height,
            fill=False,
            edgecolor=MARK,
            linewidth=linewidth,
            path_effects=[withStroke(linewidth=2 * linewidth, foreground='white')],
        )
    )


def name_frame(clip: RecordedClip, t: int) -> str:
    """Name a frame of the clip, with its second if it is known."""
    seconds = '' if clip.seconds is None else f' ({clip.seconds[t]:.2f} s)'
    return f'frame {t}{seconds}'


def name_offset(clip: RecordedClip, t: int, index: int) -> str:
    """Name an offset, and the frame that it leads to from frame t."""
    offset = clip.offsets[index]
    title = f'l = {offset:+d}' if offset else 'l = 0'
    if not clip.inside[t, index]:
        return title
    there = f'frame {t + offset}'
    if clip.seconds is not None:
        there = f'{clip.seconds[t + offset]:.2f} s'
    return f'{title} ({there})'


def set_title(figure: Figure, text: str, clip: RecordedClip) -> None:
    """Set the title of a figure: text, video and source, in plain letters."""
    title = f'{text}\n{readable(clip.video)}: {readable(clip.source)}'
    figure.suptitle(title, fontsize=9, parse_math=False)


def readable(name: str, most: int = 60) -> str:
    """Shorten a name, and replace what matplotlib's font does not have.

    Args:
        name: The name.
        most: Most letters to leave. Default: 60.
    """
    letters = ''.join(
        c if ord(c) in _glyphs() else '\N{REPLACEMENT CHARACTER}' for c in name
    )
    if len(letters) <= most:
        return letters
    half = (most - 1) // 2
    return f'{letters[:half]}…{letters[-half:]}'


@cache
def _glyphs() -> frozenset[int]:
    font = font_manager.get_font(font_manager.findfont('DejaVu Sans'))
    return frozenset(font.get_charmap())
