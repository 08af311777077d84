# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Markdown of the reports: tables, and numbers with their spread."""

from collections.abc import Iterable, Sequence
from typing import Any

NOTHING = '–'


def show_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a table."""
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def show_text(text: str) -> str:
    """Format text of others for a cell of a table."""
    return text.replace('|', r'\|')


def show_number(value: float | None) -> str:
    """Format percent or minutes."""
    return NOTHING if value is None else f'{value:.1f}'


def show_mean(found: dict[str, Any] | None, spread: bool = True) -> str:
    """Format the mean of seeds, by default with the deviation of a seed."""
    if not found:
        return NOTHING
    if not spread or found['deviation'] is None:
        return show_number(found['mean'])
    return f'{found["mean"]:.1f} ± {found["deviation"]:.1f}'


def show_difference(found: dict[str, Any] | None) -> str:
    """Format a paired difference with its interval."""
    if not found:
        return NOTHING
    if found['low'] is None:
        return f'{found["mean"]:+.1f}'
    return f'{found["mean"]:+.1f} [{found["low"]:+.1f}, {found["high"]:+.1f}]'


def show_large(value: int | None, unit: float, name: str) -> str:
    """Format a count in thousands or millions."""
    return NOTHING if value is None else f'{value / unit:.1f} {name}'


def show_rank_correlation(found: dict[str, Any] | None) -> list[str]:
    """Format the number of rows and both correlations."""
    if not found:
        return [NOTHING] * 3
    spearman, kendall = (
        f'{found[kind]:.2f} ({_show_probability(found[f"{kind}_p"])})'
        for kind in ('spearman', 'kendall')
    )
    return [str(found['rows']), spearman, kendall]


def _show_probability(p: float) -> str:
    return f'p = {p:.3f}' if p >= 0.001 else 'p < 0.001'
