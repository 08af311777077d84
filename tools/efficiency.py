# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Measure multiply-adds, parameters, training memory and speed of networks.

    python tools/efficiency.py CONFIG [CONFIG ...] --out efficiency.csv
    python tools/efficiency.py --table sup3g_efficiency --figure efficiency.png
    python tools/efficiency.py CONFIG --sweep offsets="(-1,0,1) (0,1)" window="5 9"

CONFIG is a path or PACKAGE::NAME. The weights are random; nothing is downloaded.
Multiply-adds are those of mmaction2's get_flops.py. A training step has --batch-size
clips and the optimizer of the config. Latency is the forward pass of one clip,
throughput that of --batch-size clips, both with backbone, neck and head on normalized
clips. All networks are timed in interleaved rounds.

--sweep measures all combinations of the values. NAME is an option of the block (window,
extraction.channels) or a key of the config (model.backbone.depth). Values are separated
by blanks.

Exit code 0 if everything was measured, 1 if something failed (the table says why), 2 if
the command is wrong.
"""

import argparse
import os
import sys
from pathlib import Path

import torch
from mmengine.config import DictAction

import selfy_mmaction  # noqa: F401  registers everything
from selfy_mmaction.evaluation.efficiency.figure import COSTS, draw_accuracy
from selfy_mmaction.evaluation.efficiency.measure import (
    MEASURES,
    Row,
    Settings,
    Variant,
    measure,
)
from selfy_mmaction.evaluation.efficiency.report import (
    FORMATS,
    show_table,
    write_results,
)
from selfy_mmaction.evaluation.efficiency.variants import (
    parse_sweep,
    read_table,
    read_variants,
    sweep_variants,
)
from selfy_mmaction.inference.network import choose_device

PICTURES = ('.png', '.pdf', '.svg')


def make_parser() -> argparse.ArgumentParser:
    """Create the parser."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add('configs', nargs='*', metavar='CONFIG', help='configs of recognizers')
    add(
        '--table',
        metavar='NAME',
        help='measure the configs of a table of the paper instead, such as '
        "sup3g_efficiency, and show the paper's figures next to ours",
    )
    add(
        '--sweep',
        nargs='+',
        metavar='NAME="VALUE VALUE"',
        help='measure variants of one config instead: all combinations of the values',
    )
    add(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='changes to all configs, in the format of test.py',
    )
    add(
        '--shape',
        nargs='+',
        type=int,
        metavar='N',
        help='height and width, or one number for both, or all of T 3 H W (2D '
        'networks) or 1 3 T H W (3D networks) of a clip (default: from the test '
        'pipeline)',
    )
    add(
        '--measure',
        nargs='*',
        choices=MEASURES,
        default=MEASURES,
        help='what to measure besides multiply-adds and parameters; nothing, if no '
        'value follows (default: all)',
    )
    add(
        '--batch-size',
        type=int,
        default=8,
        help='clips per training step and for the throughput (default: %(default)s)',
    )
    add(
        '--repeats',
        type=int,
        default=10,
        help='rounds of timing, 2 or more (default: %(default)s)',
    )
    add('--device', help='such as cpu or cuda:1 (default: the first GPU, else the CPU)')
    add(
        '--dtype',
        choices=('float32', 'float16', 'bfloat16'),
        default='float32',
        help='of forward passes, and of autocast in training (default: %(default)s)',
    )
    add('--threads', type=int, help="CPU threads (default: torch's choice)")
    add(
        '--out',
        type=Path,
        metavar='FILE',
        help=f'write the results to a file that ends in {" or ".join(FORMATS)}',
    )
    add(
        '--figure',
        type=Path,
        metavar='FILE',
        help=f'draw accuracy against cost, as {", ".join(PICTURES)}; the accuracies '
        'are those that the metafiles report',
    )
    add(
        '--figure-cost',
        choices=COSTS,
        default=COSTS[0],
        help='x axis of the figure (default: %(default)s)',
    )
    return parser


def check_arguments(args: argparse.Namespace) -> Settings:
    """Check the arguments, which takes no time.

    Raises:
        OSError: If the folder of a file to write cannot be made.
        ValueError: If arguments are wrong or contradict each other.
    """
    if bool(args.configs) == bool(args.table):
        raise ValueError('give either configs or --table')
    if args.sweep and len(args.configs) != 1:
        raise ValueError('--sweep needs exactly one config')
    for name, least in (('batch_size', 1), ('repeats', 2), ('threads', 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            option = name.replace('_', '-')
            raise ValueError(f'--{option} {value} must be {least} or more')
    cpus = os.cpu_count() or 1
    if args.threads and args.threads > cpus:
        raise ValueError(f'--threads {args.threads}: only {cpus} CPUs available')
    if args.shape and (min(args.shape) < 1 or len(args.shape) not in (1, 2, 4, 5)):
        shape = ' '.join(map(str, args.shape))
        raise ValueError(
            f'--shape {shape} must be SIZE, H W, T 3 H W or 1 3 T H W, all positive'
        )
    if args.sweep and args.figure:
        raise ValueError(
            '--figure needs reported accuracies, which variants of --sweep do not have'
        )
    if args.figure and args.figure_cost == 'latency' and 'time' not in args.measure:
        raise ValueError('--figure-cost latency needs --measure time')
    for name, endings in (('out', FORMATS), ('figure', PICTURES)):
        path = getattr(args, name)
        if path is None:
            continue
        if path.suffix.lower() not in endings or path.is_dir():
            raise ValueError(f'--{name} {path} must end in {" or ".join(endings)}')
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise PermissionError(f'--{name} {path} cannot be written')
    return Settings(
        choose_device(args.device),
        getattr(torch, args.dtype),
        args.batch_size,
        args.repeats,
        tuple(args.shape) if args.shape else None,
        args.measure,
    )


def choose_networks(args: argparse.Namespace) -> list[Variant]:
    """Read the configs.

    Raises:
        OSError: If a config does not exist.
        ValueError: If a config, an option or a value of the sweep is wrong.
    """
    sweep = parse_sweep(args.sweep or [])
    if args.table:
        variants = read_table(args.table, args.cfg_options)
    else:
        variants = read_variants(args.configs, args.cfg_options)
    if args.figure and not any(variant.reported for variant in variants):
        raise ValueError(
            '--figure needs accuracies, but no metafile reports one for these configs '
            '(or --cfg-options changes the model)'
        )
    return sweep_variants(variants[0], sweep) if sweep else variants


def main() -> None:
    """Run the command line."""
    parser = make_parser()
    try:
        args = parser.parse_args()
    except ValueError as error:  # raised by DictAction, which does not name the option
        parser.error(f'--cfg-options must be KEY=VALUE: {error}')
    # Names may hold characters that the terminal cannot encode.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors='backslashreplace')
    rows: list[Row] = []

    def save(measured: list[Row]) -> None:
        rows[:] = measured
        if args.out:
            write_results(args.out, measured, settings)

    try:
        settings = check_arguments(args)
        if args.threads:
            torch.set_num_threads(args.threads)
        measure(choose_networks(args), settings, save)
        print(show_table(rows, settings))
        if args.figure:
            draw_accuracy(args.figure, rows, settings, args.figure_cost)
    except (OSError, ValueError) as error:
        parser.exit(2, f'error: {error}\n')
    except KeyboardInterrupt:
        if rows:
            print(show_table(rows, settings))
        parser.exit(130, '\ninterrupted; the table has what was measured so far\n')
    for path in (args.out, args.figure):
        if path:
            print(f'{path} written')
    failed = sum(bool(row.errors) for row in rows)
    if failed:
        parser.exit(1, f'{failed} of {len(rows)} networks failed, see the errors\n')


if __name__ == '__main__':
    main()
