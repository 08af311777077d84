# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Measure accuracy with one frame occluded or motion-blurred (Sec. 4.7, Fig. 5).

    python tools/robustness.py CONFIG CHECKPOINT [CONFIG CHECKPOINT ...] --out DIR

mmaction2's test loop tests each network on clean clips and on the supplement's six
levels of each corruption. DIR gets robustness.json, robustness.md and robustness.png,
with one curve per network. Run the same command again to resume; networks can be added
to it without testing the others again.
"""

import argparse
from pathlib import Path

from mmengine.config import DictAction

import selfy_mmaction  # noqa: F401  registers everything
from selfy_mmaction.evaluation.corruption_levels import CORRUPTIONS, choose_levels
from selfy_mmaction.evaluation.robustness import prepare_network, run_levels
from selfy_mmaction.evaluation.robustness_figure import draw_curves, show_tables


def name_networks(pairs: list[tuple[str, str]], names: list[str] | None) -> list[str]:
    """Choose the names for the tables and the figure.

    Args:
        pairs: Config and checkpoint of each network.
        names: Names given by the user. None: the config's name, followed by the
            checkpoint's if a config occurs twice.

    Raises:
        ValueError: If the networks do not have one unique name each.
    """
    if names is None:
        configs = [Path(config).stem for config, _ in pairs]
        names = [
            f'{config} {Path(checkpoint).stem}' if configs.count(config) > 1 else config
            for config, (_, checkpoint) in zip(configs, pairs, strict=True)
        ]
    if len(names) != len(pairs) or len(set(names)) != len(names):
        raise ValueError(
            f'{len(pairs)} networks have the names {names}; give each a unique name '
            'with --names'
        )
    return names


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'networks',
        nargs='+',
        metavar='CONFIG CHECKPOINT',
        help='each network is a pair of files',
    )
    parser.add_argument(
        '--names',
        nargs='+',
        help='one name per network, for the tables and the figure (default: from the '
        'configs)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/robustness'),
        help='folder of the results (default: %(default)s)',
    )
    parser.add_argument(
        '--corruptions',
        nargs='+',
        default=CORRUPTIONS,
        help=f'any of {", ".join(CORRUPTIONS)} (default: all)',
    )
    parser.add_argument(
        '--levels',
        nargs='+',
        type=int,
        default=range(1, 7),
        help='levels of each corruption, from 1 to 6 (default: all)',
    )
    parser.add_argument(
        '--frame',
        type=int,
        help='index of the frame to corrupt, from 0 (default: the center, which is 3 '
        'for 8 frames)',
    )
    parser.add_argument(
        '--metric',
        default='acc/top1',
        help="metric of the config's evaluator that is reported (default: %(default)s)",
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of the blur angles (default: 0)'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='changes to all configs, in the format of test.py',
    )
    try:
        args = parser.parse_args()
    except ValueError as error:  # raised by DictAction, which does not name the option
        parser.error(f'--cfg-options must be KEY=VALUE: {error}')
    if len(args.networks) % 2:
        number = len(args.networks)
        parser.error(f'expected pairs of CONFIG CHECKPOINT, but got {number} files')
    if args.seed < 0:
        parser.error(f'--seed {args.seed} must be at least 0')
    pairs = list(zip(args.networks[::2], args.networks[1::2], strict=True))
    try:
        levels = choose_levels(args.corruptions, args.levels)
        networks = [
            prepare_network(name, *pair, args.frame, args.cfg_options)
            for name, pair in zip(name_networks(pairs, args.names), pairs, strict=True)
        ]
        figures = run_levels(
            networks, levels, args.out, args.metric, args.frame, args.seed
        )
    except (OSError, ValueError) as error:
        parser.exit(2, f'error: {error}\n')
    except KeyboardInterrupt:
        parser.exit(130, '\ninterrupted; run the same command again to resume\n')
    tables = show_tables(figures, args.metric)
    (args.out / 'robustness.md').write_text(tables + '\n')
    draw_curves(args.out / 'robustness.png', figures, args.metric)
    print(f'\n{tables}\n\nFigure: {args.out / "robustness.png"}')


if __name__ == '__main__':
    main()
