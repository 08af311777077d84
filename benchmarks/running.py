# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Command line and report of the benchmarks."""

import json
import math
import os
import platform
import shlex
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from argparse import RawDescriptionHelpFormatter as Formatter
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from measuring import Candidate, check_results, measure, measure_rates

import selfy_mmaction
from selfy_mmaction.evaluation.time_and_memory import cpu_name

# Values of each quantity that --scale can vary.
SCALES = {
    't': (4, 8, 16, 32),
    'l': (1, 3, 5, 7, 9),
    'window': (5, 9, 13, 17),
    'size': (7, 14, 28),
    'batch': (1, 2, 4, 8),
}

# Help on the sizes of the input, which differ between the benchmarks.
_INPUTS = {'size': 'height and width of the input', 'channels': 'channels of the input'}


def make_parser(doc: str, **inputs: int) -> ArgumentParser:
    """Create a parser with the options that all benchmarks share.

    Args:
        doc: Description of the benchmark.
        inputs: Extra options, ``size`` and ``channels`` of the input, with their
            defaults.
    """
    parser = ArgumentParser(description=doc, formatter_class=Formatter)
    add = parser.add_argument
    for name, choices, text in (
        ('device', ('cpu', 'cuda'), 'where the candidates run'),
        ('dtype', ('float32', 'float16', 'bfloat16'), 'precision of the input'),
    ):
        text += ' (default: %(default)s)'
        add(f'--{name}', choices=choices, default=choices[0], help=text)
    for name, default, text in (
        ('threads', 1, 'number of CPU threads'),
        ('repeats', 20, 'number of rounds; each measures every candidate once'),
        ('batch', 1, 'clips per batch'),
        ('t', 8, 'frames per clip'),
        ('l', 5, 'number of temporal offsets, odd: from -(l // 2) to l // 2'),
        ('window', 9, 'U and V of the window, odd'),
        *((name, default, _INPUTS[name]) for name, default in inputs.items()),
    ):
        text += f' (default: {default})'
        add(f'--{name}', type=positive, default=default, help=text)
    add('--official', type=Path, metavar='PATH', help='checkout of the official code')
    text = 'also run the official code with its compiled sampler'
    add('--sampler', action='store_true', help=text)
    text = 'run two rounds with tiny sizes, as a smoke test'
    add('--quick', action='store_true', help=text)
    text = 'folder of the report (default: %(default)s)'
    add('--out', type=Path, default='work_dirs/benchmarks', help=text)
    return parser


def positive(text: str) -> int:
    """Read a positive number of the command line."""
    value = int(text)
    if value < 1:
        raise ArgumentTypeError(f'must be 1 or more, but got {value}')
    return value


def run(
    parser: ArgumentParser,
    build: Callable[[Namespace], list[Candidate]],
    **quick: int,
) -> None:
    """Run a benchmark and write the report after each table.

    Args:
        parser: Result of :func:`make_parser`, possibly with more options.
        build: Builds the candidates of a case, which is the command line extended by
            :func:`_case`. Ratios refer to the first candidate.
        quick: Defaults of options under ``--quick``.
    """
    args = parser.parse_args()
    if args.quick:
        parser.set_defaults(t=2, l=3, repeats=2, **quick)
        args = parser.parse_args()
    _check(parser, args)
    data = dict(
        command=shlex.join(['python', *sys.argv]),
        date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
        machine=describe_machine(args.device),
        options={name: str(value) for name, value in vars(args).items()},
        tables=[],
    )
    args.device, args.dtype = torch.device(args.device), getattr(torch, args.dtype)
    path = args.out / Path(parser.prog).stem
    torch.set_num_threads(args.threads)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        check_results(build(_case(args, dtype=torch.float64)))
        data['rates'] = measure_rates(args.device, args.dtype)
        changes = [{}]
        for name in getattr(args, 'scale', ()):
            changes += [{name: value} for value in SCALES[name]]
        for change in changes:
            print(change or 'main table', file=sys.stderr)
            candidates = build(_case(args, **change))
            speed = data['rates']['gmacs_per_s']
            rows = measure(candidates, args.repeats, args.device, speed)
            data['tables'].append(dict(change=change, rows=rows))
            path.with_suffix('.json').write_text(json.dumps(data, indent=1))
            path.with_suffix('.md').write_text(markdown(data))
    except (ImportError, OSError, ValueError) as error:
        parser.exit(2, f'{parser.prog}: error: {error}\n')
    if changes[1:]:
        draw(data['tables'][1:]).savefig(path.with_suffix('.png'), dpi=120)
    print(f'\n{markdown(data)}\nAll times: {path}.json')


def _check(parser: ArgumentParser, args: Namespace) -> None:
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda: torch finds no CUDA device')
    if args.threads > os.cpu_count():
        parser.error(f'--threads {args.threads}: only {os.cpu_count()} CPUs available')
    if args.repeats < 2:
        parser.error(f'--repeats {args.repeats}: must be 2 or more')
    if args.l % 2 == 0 or args.window % 2 == 0:
        parser.error(f'--l {args.l} --window {args.window}: both must be odd')
    if args.sampler and not args.official:
        parser.error('--sampler requires --official PATH')


def _case(args: Namespace, **changes: Any) -> Namespace:
    case = Namespace(**(vars(args) | changes))
    case.offsets = range(-(case.l // 2), case.l // 2 + 1)
    # Half-precision training runs under autocast with float32 weights.
    case.training_dtype = torch.promote_types(case.dtype, torch.float32)
    options = dict(dtype=case.dtype, enabled=case.dtype.itemsize < 4)
    case.autocast = partial(torch.autocast, case.device.type, **options)
    return case


def describe_machine(device: str) -> dict[str, Any]:
    """Describe the hardware and software that results depend on."""
    return dict(
        cpu=cpu_name(),
        cpus=os.cpu_count(),
        load=os.getloadavg()[0] if hasattr(os, 'getloadavg') else None,
        gpu=torch.cuda.get_device_name() if device == 'cuda' else None,
        system=platform.platform(),
        python=platform.python_version(),
        torch=torch.__version__,
        selfy_mmaction=selfy_mmaction.__version__,
    )


def markdown(data: dict[str, Any]) -> str:
    """Format all tables and their settings as Markdown."""
    facts = {**data['machine'], **data['options'], **data['rates']}
    lines = [f'`{data["command"]}`, {data["date"]}', '']
    lines.append(', '.join(f'{key} {value}' for key, value in facts.items()))
    titles = ['', 'pass', 'ms', f'times {data["tables"][0]["rows"][0]["candidate"]}']
    titles += ['peak MiB', 'G multiply-adds', 'times its arithmetic']
    for table in data['tables']:
        lines += ['', *(f'{key} = {n}\n' for key, n in table['change'].items())]
        cells = [titles, ['---'] * len(titles)]
        for row in table['rows']:
            cells.append([row['candidate'], row['pass']])
            for low, median, high in (row['ms'], row['ratio']):
                cells[-1].append(f'{median:.4g} ({low:.4g} to {high:.4g})')
            for key in ('peak_mib', 'gmacs', 'times_arithmetic'):
                cells[-1].append('' if row[key] is None else f'{row[key]:.4g}')
        lines += [f'| {" | ".join(each)} |' for each in cells]
    return '\n'.join(lines) + '\n'


def draw(tables: list[dict[str, Any]]) -> Figure:
    """Plot median times over each quantity that was varied."""
    points: dict[str, list[tuple[int, list]]] = {}
    for table in tables:
        ((name, value),) = table['change'].items()
        points.setdefault(name, []).append((value, table['rows']))
    columns = min(len(points), 3)
    shape = math.ceil(len(points) / columns), columns
    figure = Figure(figsize=(6 * shape[1], 4.5 * shape[0]), layout='constrained')
    for number, (name, found) in enumerate(points.items(), start=1):
        ax = figure.add_subplot(*shape, number)
        values, tables_of_rows = zip(*found, strict=True)
        for rows in zip(*tables_of_rows, strict=True):
            label = f'{rows[0]["candidate"]}, {rows[0]["pass"]}'
            ax.plot(values, [row['ms'][1] for row in rows], 'o-', label=label)
        ax.set(xlabel=name, ylabel='ms', xscale='log', yscale='log')
        ax.set_xticks(values, map(str, values))
        ax.tick_params(axis='x', which='minor', bottom=False, labelbottom=False)
    figure.axes[0].legend(fontsize='x-small')
    return figure
