# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Colors of displacements, told apart by color-blind people, and their legend."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle
from mmcv.visualization import flow2rgb

from .recorded_clip import RecordedClip

# Of Okabe and Ito's eight colors, these four in this order, with the colors halfway,
# stay farthest apart in CIELAB under simulated red, green and blue blindness.
DIRECTIONS = {
    'right': '#D55E00',
    'down': '#000000',
    'left': '#0072B2',
    'up': '#F0E442',
}
"""Colors of the directions, clockwise. Between them, colors are interpolated."""

_STEPS = 16  # between two directions


def _make_wheel() -> np.ndarray:
    # mmcv's wheel begins at the right, goes clockwise in images, and does not close.
    corners = np.array([to_rgb(c) for c in (*DIRECTIONS.values(), DIRECTIONS['right'])])
    where = np.arange(4 * _STEPS + 1) / _STEPS
    return np.stack([np.interp(where, range(5), c) for c in corners.T], axis=1)


_WHEEL = _make_wheel()


def color_scale(clip: RecordedClip) -> float:
    """Choose the displacement that has the full color, in cells, at least 1.

    It is the same for all frames and offsets of a clip: the 95th percentile of the
    displacements, rounded to whole cells.
    """
    moving = [i for i, offset in enumerate(clip.offsets) if offset]
    length = np.linalg.norm(clip.displacement[..., moving, :], axis=-1)
    length = length[np.isfinite(length)]
    return float(max(1, np.round(np.percentile(length, 95)))) if len(length) else 1.0


def color_displacements(displacement: np.ndarray, scale: float) -> np.ndarray:
    """Color displacements by their direction; short ones are white.

    Args:
        displacement: Displacements (u, v), rows first, (h, w, 2), in cells.
        scale: Length with the full color, in cells. Longer ones have it, too.

    Returns:
        RGBA, (h, w, 4), from 0 to 1. NaN is transparent.
    """
    flow = displacement[..., ::-1].astype(np.float64)  # (v, u) is (dx, dy)
    length = np.linalg.norm(flow, axis=-1, keepdims=True)
    flow = flow / np.maximum(length / scale, 1)
    # flow2rgb divides by the longest of its input, so a longest one is added. It is a
    # bit longer: colors of lengths that are rounded to more than 1 are darkened.
    longest = np.zeros((1, flow.shape[1], 2))
    longest[..., 0] = scale * (1 + 1e-9)
    rgb = flow2rgb(np.concatenate([flow, longest]), color_wheel=_WHEEL)[:-1]
    alpha = np.isfinite(length).astype(np.float64)
    return np.concatenate([rgb.clip(0, 1), alpha], axis=-1)


def draw_wheel(axes: Axes, scale: float, fontsize: float = 7) -> None:
    """Draw the legend of :func:`color_displacements`."""
    side = np.linspace(-scale, scale, 129)
    v, u = np.meshgrid(side, side)
    image = axes.imshow(
        color_displacements(np.stack([u, v], axis=-1), scale),
        extent=(-scale, scale, scale, -scale),
        interpolation='bilinear',
    )
    image.set_clip_path(Circle((0, 0), scale, transform=axes.transData))
    style: dict[str, Any] = dict(fontsize=fontsize, ha='center', va='center')
    for text, x, y, rotation in (
        ('right →', 1.22, 0, 270),
        ('← left', -1.22, 0, 90),
        ('↑ up', 0, -1.2, 0),
        ('↓ down', 0, 1.2, 0),
    ):
        axes.text(x * scale, y * scale, text, rotation=rotation, **style)
    limit = 1.42 * scale
    axes.set(xlim=(-limit, limit), ylim=(limit, -limit))
    axes.axis('off')
    unit = 'cell' if scale == 1 else 'cells'
    axes.set_title(f'edge: {scale:g} {unit}\nor more', fontsize=fontsize, pad=2)
