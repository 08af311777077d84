# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Tables and curves of accuracy under corruption (Fig. 5)."""

from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure

from .corruption_levels import CLEAN, CORRUPTIONS, LABELS, Level

_TITLES = dict(
    occlusion='Occlusion: side of the square (px of a 224x224 input)',
    motion_blur='Motion blur: radius, sigma (px of a 224x224 input)',
)


def show_tables(figures: dict[str, dict[Level, float]], metric: str) -> str:
    """Format the result of :func:`run_levels` as Markdown, one table per corruption.

    Example:
        >>> from selfy_mmaction.evaluation.corruption_levels import choose_levels
        >>> from selfy_mmaction.evaluation.robustness_figure import show_tables
        >>> levels = choose_levels(['occlusion'], levels=[1, 2])
        >>> figures = {'TSN': dict(zip(levels, (41.6, 39.0, 35.5)))}
        >>> print(show_tables(figures, 'acc/top1'))
        Occlusion: side of the square (px of a 224x224 input), acc/top1 in percent
        <BLANKLINE>
        | model | clean | 40 | 80 |
        | --- | --- | --- | --- |
        | TSN | 41.6 | 39.0 | 35.5 |
    """
    tables = []
    for corruption, levels in _by_corruption(figures):
        labels = ['model', *_tick_labels(levels)]
        lines = [
            f'{_TITLES[corruption]}, {metric} in percent',
            '',
            f'| {" | ".join(labels)} |',
            f'|{" --- |" * len(labels)}',
        ]
        for name, row in figures.items():
            cells = (f'{row[level]:.1f}' for level in levels)
            lines.append(f'| {name} | {" | ".join(cells)} |')
        tables.append('\n'.join(lines))
    return '\n\n'.join(tables)


def draw_curves(
    path: Path, figures: dict[str, dict[Level, float]], metric: str
) -> None:
    """Draw the result of :func:`run_levels` as curves (Fig. 5a and 5b).

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from selfy_mmaction.evaluation.corruption_levels import choose_levels
        >>> from selfy_mmaction.evaluation.robustness_figure import draw_curves
        >>> levels = choose_levels(['occlusion'], levels=[1, 2])
        >>> figures = {'TSN': dict(zip(levels, (41.6, 39.0, 35.5)))}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     draw_curves(Path(folder, 'curves.png'), figures, 'acc/top1')
        ...     [path.name for path in Path(folder).iterdir()]
        ['curves.png']
    """
    panels = list(_by_corruption(figures))
    figure = Figure(figsize=(5.5 * len(panels), 4), layout='constrained')
    rows = figure.subplots(1, len(panels), sharey=True, squeeze=False)
    for axes, (corruption, levels) in zip(rows[0], panels, strict=True):
        for name, row in figures.items():
            axes.plot([row[level] for level in levels], 'o-', label=name)
        axes.set_xticks(range(len(levels)), _tick_labels(levels), fontsize=8)
        axes.set_title(_TITLES[corruption], fontsize=9)
        axes.grid(alpha=0.3)
    rows[0][0].set_ylabel(f'{metric} (%)')
    rows[0][0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _by_corruption(
    figures: dict[str, dict[Level, float]],
) -> Iterable[tuple[str, list[Level]]]:
    tested = next(iter(figures.values()))
    for corruption in CORRUPTIONS:
        levels = [level for level in tested if level.corruption == corruption]
        if levels:
            yield corruption, [CLEAN, *levels]


def _tick_labels(levels: Iterable[Level]) -> list[str]:
    return [
        'clean' if level == CLEAN else LABELS[level.corruption][level.level - 1]
        for level in levels
    ]
