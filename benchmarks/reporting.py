# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""JSON, table and plot of a benchmark."""

import json
import math
import os
import platform
import shlex
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from matplotlib.figure import Figure
from measuring import Limits, Measurement

import selfy_mmaction


def describe_machine(device: torch.device) -> dict[str, Any]:
    """What a figure depends on."""
    machine = dict(
        cpu=_cpu_name(),
        cpus=os.cpu_count(),
        load_before=os.getloadavg()[0] if hasattr(os, 'getloadavg') else None,
        system=platform.platform(),
        python=platform.python_version(),
        torch=torch.__version__,
        mmcv=mmcv.__version__,
        selfy_mmaction=selfy_mmaction.__version__,
    )
    if device.type == 'cuda':
        machine.update(gpu=torch.cuda.get_device_name(device), cuda=torch.version.cuda)
    return machine


def _cpu_name() -> str:
    info = Path('/proc/cpuinfo')
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


class Report:
    """Writes measurements as JSON, table and plot, anew after each.

    Args:
        path: Of the files, without their endings.
        machine: Of :func:`describe_machine`.
        settings: Device, dtype and the like.
        case: What is measured.
        skipped: Names and reasons of peers; those that fail later are added.
    """

    def __init__(
        self,
        path: Path,
        machine: dict[str, Any],
        settings: dict[str, Any],
        case: dict[str, Any],
        skipped: list[dict[str, str]],
    ) -> None:
        self.path = path
        self.data = dict(
            benchmark=path.name,
            command=shlex.join(['python', *sys.argv]),
            date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
            machine=machine,
            settings=settings,
            case=case,
            limits={},
            skipped=skipped,
            warnings=[],
            results=[],
            steps={},
            scaling={},
        )
        load = machine['load_before']
        if load is not None and load > 0.5:
            self.data['warnings'].append(
                f'the machine was busy when this began (load {load:.1f})'
            )

    def add_limits(self, threads: int, limits: Limits) -> None:
        """Add what the machine can do with so many threads."""
        self.data['limits'][str(threads)] = asdict(limits)

    def add_results(self, found: Measurement) -> None:
        """Add the main table."""
        self._add(found, self.data['results'])

    def add_steps(self, title: str, found: Measurement) -> None:
        """Add a table of its own."""
        self._add(found, self.data['steps'].setdefault(title, []))

    def add_scaling(self, scale: str, value: int, found: Measurement) -> None:
        """Add a point to each curve."""
        point = dict(value=value, results=[])
        self.data['scaling'].setdefault(scale, []).append(point)
        self._add(found, point['results'], f'{scale}={value}: ')

    def _add(self, found: Measurement, rows: list, where: str = '') -> None:
        rows += found.rows
        for peer in found.skipped:
            self.data['skipped'].append(dict(peer, reason=where + peer['reason']))
        self.data['warnings'] += [where + warning for warning in found.warnings]
        self._write()

    def _write(self) -> None:
        self.path.with_suffix('.json').write_text(json.dumps(self.data, indent=1))
        self.path.with_suffix('.md').write_text(self.markdown())
        draw(self.data).savefig(self.path.with_suffix('.png'), dpi=120)

    def markdown(self) -> str:
        """All tables, with what they depend on."""
        data = self.data
        baseline = data['settings']['baseline']
        facts = {**data['machine'], **data['settings'], **data['case']}
        lines = [
            f'# {data["benchmark"]}',
            '',
            f'`{data["command"]}`, {data["date"]}',
            '',
            ', '.join(f'{key} {value}' for key, value in facts.items()),
            '',
        ]
        for threads, limits in data['limits'].items():
            lines.append(
                f'Limits with {threads} threads: {limits["macs_per_s"] / 1e9:.1f} G '
                f'multiply-adds/s, {limits["bytes_per_s"] / 1e9:.1f} GB/s'
            )
        lines += [f'\n**{warning}**' for warning in data['warnings']]
        lines += ['', *_table(data['results'], baseline)]
        for title, rows in data['steps'].items():
            lines += ['', f'## {title}', '', *_table(rows, rows[0]['candidate'])]
        for scale, points in data['scaling'].items():
            lines += ['', f'## Scaling in {scale}', '', *_scaling_table(scale, points)]
        if data['skipped']:
            lines += ['', 'Skipped:', '']
            lines += [f'- {peer["name"]}: {peer["reason"]}' for peer in data['skipped']]
        return '\n'.join(lines) + '\n'


def _table(rows: list[dict[str, Any]], baseline: str) -> list[str]:
    """Quartiles in brackets."""
    titles = ['candidate', 'pass', 'ms', f'times {baseline}', 'peak MiB']
    titles += ['G multiply-adds', 'least MB', 'share of limit', 'difference']
    lines = [_line(titles), _line(['---'] * len(titles))]
    for row in rows:
        difference = row['difference']
        cells = [row['candidate'], row['pass'], _spread(row['ms'])]
        cells += [_spread(row['ratio']), f'{row["peak_mib"]:.1f}']
        cells += [f'{row["gmacs"]:.3g}', f'{row["least_mb"]:.3g}']
        cells.append(f'{row["share_of_limit"]:.0%}')
        cells.append('' if difference is None else f'{difference:.0e}')
        lines.append(_line(cells))
    return lines


def _scaling_table(scale: str, points: list[dict[str, Any]]) -> list[str]:
    """Median times and, in brackets, ratios; a row per candidate and pass."""
    values = [point['value'] for point in points]
    cells: dict[tuple[str, str], dict[int, str]] = {}
    for point in points:
        for row in point['results']:
            text = f'{row["ms"][1]:.3g} ms ({row["ratio"][1]:.3g})'
            key = row['candidate'], row['pass']
            cells.setdefault(key, {})[point['value']] = text
    lines = [_line(['candidate', 'pass', *(f'{scale} = {v}' for v in values)])]
    lines.append(_line(['---'] * (2 + len(values))))
    for key, found in cells.items():
        lines.append(_line([*key, *(found.get(value, '') for value in values)]))
    return lines


def _line(cells: list[str]) -> str:
    return f'| {" | ".join(cells)} |'


def _spread(quartiles: list[float]) -> str:
    low, median, high = quartiles
    return f'{median:.3g} ({low:.3g} to {high:.3g})'


def draw(data: dict[str, Any]) -> Figure:
    """Bars of the main table, and a panel of curves per scaled quantity.

    Args:
        data: Of the JSON file.
    """
    panels = 1 + len(data['scaling'])
    columns = min(panels, 3)
    rows = math.ceil(panels / columns)
    figure = Figure(figsize=(6 * columns, 4.5 * rows), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for ax in axes[panels:]:
        ax.remove()
    labels = [f'{row["candidate"]}\n{row["pass"]}' for row in data['results']]
    low, median, high = np.transpose([row['ms'] for row in data['results']])
    axes[0].barh(labels, median, xerr=[median - low, high - median])
    axes[0].invert_yaxis()
    wide = max(median) > 30 * min(median)
    axes[0].set(xlabel='ms', xscale='log' if wide else 'linear')
    axes[0].set_title(data['benchmark'])
    colors: dict[tuple[str, str], str] = {}
    for ax, (scale, points) in zip(axes[1:], data['scaling'].items(), strict=False):
        curves: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for point in points:
            for row in point['results']:
                key = row['candidate'], row['pass']
                curves.setdefault(key, []).append((point['value'], row['ms'][1]))
        for key, curve in curves.items():
            color = colors.setdefault(key, f'C{len(colors)}')
            ax.plot(*zip(*curve, strict=True), 'o-', color=color, label=', '.join(key))
        ax.set(xlabel=scale, ylabel='ms', xscale='log', yscale='log')
        values = [point['value'] for point in points]
        ax.set_xticks(values, [str(value) for value in values])
        ax.tick_params(axis='x', which='minor', bottom=False, labelbottom=False)
    if colors:
        axes[1].legend(fontsize='x-small')
    return figure
