# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Measure what simple features tell about the classes of a motion benchmark.

    python tools/motion_controls.py data/motion-stories --out controls.json

A linear classifier on features without the order of frames shows what a shortcut could
reach; block matching between ordered frames, the oracle, shows that the classes can be
told apart. docs/motion-stories.md explains the rows.
"""

import argparse
import json
import os
from pathlib import Path

import selfy_mmaction  # noqa: F401  registers the decoders
from selfy_mmaction.atomic_files import replacing
from selfy_mmaction.evaluation.motion_controls.features import FEATURES
from selfy_mmaction.evaluation.motion_controls.measuring import measure


def make_parser() -> argparse.ArgumentParser:
    """Create the parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('data', help='folder that make_motion.py wrote')
    parser.add_argument(
        '--features',
        nargs='+',
        choices=FEATURES,
        default=list(FEATURES),
        metavar='FEATURE',
        help=f'features to measure: {", ".join(map(repr, FEATURES))} (default: all)',
    )
    parser.add_argument(
        '--clips',
        type=int,
        help='largest number of clips of each split (default: all)',
    )
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count(),
        help='number of processes (default: number of CPUs)',
    )
    parser.add_argument(
        '--out', type=Path, help='also write a JSON file (default: none)'
    )
    return parser


def main() -> None:
    """Run the command line."""
    parser = make_parser()
    args = parser.parse_args()
    if args.workers < 1:
        parser.error(f'--workers must be at least 1, got {args.workers}')
    try:
        if args.out and not args.out.parent.is_dir():
            raise FileNotFoundError(
                f'the folder of {args.out} does not exist; create it'
            )
        accuracies = measure(args.data, args.features, args.clips, args.workers)
        if args.out:
            with replacing(args.out) as partial:
                text = json.dumps(accuracies, indent=2)
                partial.write_text(text + '\n', encoding='utf-8')
    except (OSError, ValueError) as error:
        parser.exit(2, f'error: {error}\n')
    except KeyboardInterrupt:
        parser.exit(130, '\ninterrupted; nothing is written\n')
    splits = list(next(iter(accuracies.values())))
    print('\n| feature | ' + ' | '.join(splits) + ' |')
    print('| --- ' * (len(splits) + 1) + '|')
    for name, row in accuracies.items():
        cells = [f'{100 * row[split]:.1f}' for split in splits]
        print(f'| {name} | ' + ' | '.join(cells) + ' |')


if __name__ == '__main__':
    main()
