# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What extractions make of one position's similarities (Figure 3 of the paper)."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import nn

from .panels import MARK, readable, say_outside
from .queries import Query, check_queries
from .recorded_clip import RecordedClip

_COLORS = 'viridis'
_BARS = '#0072B2'


def extract(
    clip: RecordedClip, query: Query, modules: Mapping[str, nn.Module]
) -> dict[str, np.ndarray]:
    """Run extractions on the similarities of one position.

    Args:
        clip: The clip.
        query: The position (t, y, x).
        modules: Extractions by name, in evaluation mode on the CPU.

    Returns:
        Features by name, (L, C_F).

    Raises:
        ValueError: If the position is not in the clip, or a module is in training mode.
    """
    [(t, y, x)] = check_queries(clip, [query])
    stss = torch.from_numpy(clip.stss[t, y, x])[None, None, None, None]
    found = {}
    for name, module in modules.items():
        if module.training:
            raise ValueError(
                f'extraction {name!r} is in training mode, in which its norms depend '
                'on the batch; call eval() first'
            )
        with torch.no_grad():
            found[name] = module(stss)[0, 0, 0, 0].numpy()
    return found


def draw_extractions(
    stss: np.ndarray,
    features: Mapping[str, np.ndarray],
    offsets: Sequence[int],
    inside: Sequence[bool] | None = None,
    title: str = '',
) -> Figure:
    """Draw the similarities of one position, and a row per extraction.

    Args:
        stss: Similarities, (L, U, V).
        features: Results of extractions by name, (L, C_F). Two channels are drawn as
            a displacement (u, v), more as bars. A name may have several lines; it
            should say so if its weights are not trained.
        offsets: Temporal offsets l, L of them.
        inside: Whether frame t + l is in the clip, (L,). Default: None, all are.
        title: Title, such as the video and the position. Default: none.

    Raises:
        ValueError: If the shapes do not agree.
    """
    _check_shapes(stss, features, offsets, inside)
    rows, cols = 1 + len(features), len(offsets)
    figure = Figure(
        figsize=(max(1.35 * cols + 2, 5), 1.35 * rows + 0.9), layout='constrained'
    )
    panels = figure.subplots(rows, cols, squeeze=False)
    shown = [True] * cols if inside is None else [*inside]
    drawn = stss[shown] if any(shown) else np.zeros((1, 1, 1))
    scale = Normalize(drawn.min(), max(drawn.max(), drawn.min() + 1e-6))
    for axes, values, offset, is_inside in zip(
        panels[0], stss, offsets, shown, strict=True
    ):
        name = f'l = {offset:+d}' if offset else 'l = 0'
        axes.set_title(name, fontsize=8)
        if is_inside:
            image = axes.imshow(
                values, cmap=_COLORS, norm=scale, extent=_extent(values)
            )
            image.set_interpolation('nearest')
        _set_window(axes, stss, is_inside)
    length, height, width = stss.shape
    _label(
        panels[0, 0],
        f'STSS volume\n(L, U, V) = ({length}, {height}, {width})\nu (cells)',
    )
    for row, (name, values) in zip(panels[1:], features.items(), strict=True):
        shape = f'(L, C_F) = ({values.shape[0]}, {values.shape[1]})'
        _label(row[0], f'{readable_lines(name)}\n{shape}')
        if values.shape[1] == 2:
            _draw_displacements(row, stss, values, shown)
        else:
            _draw_bars(row, values, shown)
    bar = figure.colorbar(
        ScalarMappable(scale, _COLORS), ax=panels[0], fraction=0.02, pad=0.01
    )
    bar.set_label('similarity', fontsize=7)
    bar.ax.tick_params(labelsize=7)
    text = 'What extractions make of one position, after Figure 3 of the paper'
    figure.suptitle(
        '\n'.join(filter(None, (text, readable_lines(title)))),
        fontsize=9,
        parse_math=False,
    )
    return figure


def readable_lines(text: str) -> str:
    """Apply :func:`readable` to each line."""
    return '\n'.join(readable(line) for line in text.split('\n'))


def _check_shapes(
    stss: np.ndarray,
    features: Mapping[str, np.ndarray],
    offsets: Sequence[int],
    inside: Sequence[bool] | None,
) -> None:
    if stss.ndim != 3 or len(stss) != len(offsets):
        raise ValueError(
            f'stss must be (L, U, V) with L = {len(offsets)} for the offsets '
            f'{tuple(offsets)}, but got {stss.shape}'
        )
    if inside is not None and len(inside) != len(offsets):
        raise ValueError(
            f'inside has {len(inside)} values for {len(offsets)} offsets; give one per '
            'offset'
        )
    for name, values in features.items():
        if values.ndim != 2 or len(values) != len(offsets):
            raise ValueError(
                f'the features of {name!r} must be (L, C_F) with L = {len(offsets)}, '
                f'but got {values.shape}'
            )


def _extent(values: np.ndarray) -> tuple[float, float, float, float]:
    rows, cols = values.shape
    return -cols / 2, cols / 2, rows / 2, -rows / 2


def _set_window(axes: Axes, stss: np.ndarray, is_inside: bool) -> None:
    rows, cols = stss.shape[1:]
    left, right, bottom, top = _extent(stss[0])
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect='equal')
    axes.set_xticks(sorted({-(cols // 2), 0, cols // 2}))
    axes.set_yticks(sorted({-(rows // 2), 0, rows // 2}))
    axes.tick_params(labelsize=6, length=2, pad=1)
    axes.set_xlabel('v (cells)', fontsize=6, labelpad=1)
    if not is_inside:
        _show_outside(axes)


def _show_outside(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[], xlabel='')
    say_outside(axes, fontsize=7)


def _label(axes: Axes, text: str) -> None:
    axes.set_ylabel(text, fontsize=7, parse_math=False)


def _draw_displacements(
    row: np.ndarray, stss: np.ndarray, values: np.ndarray, shown: Sequence[bool]
) -> None:
    for axes, (u, v), is_inside in zip(row, values, shown, strict=True):
        if is_inside:
            axes.quiver(
                0,
                0,
                v,
                u,
                angles='xy',
                scale_units='xy',
                scale=1,
                color=MARK,
                width=0.03,
                headwidth=3.5,
                headlength=3,
                headaxislength=3,
            )
            axes.plot(0, 0, 'o', color='black', markersize=2.5)
            # Adding 0 leaves no -0.0.
            u, v = round(float(u), 1) + 0, round(float(v), 1) + 0
            axes.set_title(f'u = {u:.1f}, v = {v:.1f}', fontsize=7, pad=2)
            axes.grid(alpha=0.3)
        _set_window(axes, stss, is_inside)


def _draw_bars(row: np.ndarray, values: np.ndarray, shown: Sequence[bool]) -> None:
    drawn = values[list(shown)]
    low, high = (drawn.min(), drawn.max()) if len(drawn) else (0, 1)
    low, high = min(low, 0), max(high, 0)
    margin = 0.05 * (high - low) or 1
    for axes, channels, is_inside in zip(row, values, shown, strict=True):
        count = len(channels)
        axes.set(xlim=(-1, count), ylim=(low - margin * (low < 0), high + margin))
        if not is_inside:
            _show_outside(axes)
            continue
        axes.bar(range(count), channels, width=0.9, color=_BARS)
        axes.axhline(0, color='black', linewidth=0.5)
        axes.set_xticks(sorted({0, count - 1}))
        axes.set_xlabel('channel', fontsize=6, labelpad=1)
        axes.tick_params(labelsize=6, length=2, pad=1)
