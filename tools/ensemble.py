# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Report the accuracy of test.py --dump files and of their weighted sum.

    python tools/ensemble.py 8_frames.pkl 16_frames.pkl --weights 1 1 --out both.pkl

The metrics match mmaction2's report_accuracy.py. Dumps must hold the same clips and
the same class order.
"""

import argparse
import pickle
import sys
from pathlib import Path

from selfy_mmaction.evaluation.dumps import load_dump
from selfy_mmaction.evaluation.ensemble import (
    accuracies,
    fuse,
    show_table,
    write_dump,
)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'dumps', nargs='+', metavar='DUMP', help='file from test.py --dump'
    )
    parser.add_argument(
        '--weights',
        nargs='+',
        type=float,
        help='one weight per dump (default: 1 for each)',
    )
    parser.add_argument(
        '--apply-softmax',
        action='store_true',
        help='convert scores to probabilities first; needed only for dumps of configs '
        "with average_clips='score'",
    )
    parser.add_argument(
        '--out',
        type=Path,
        help='write the weighted mean as a .pkl or .pickle dump',
    )
    args = parser.parse_args()
    if args.out and args.out.suffix not in ('.pkl', '.pickle'):
        parser.error(f'--out {args.out} must end in .pkl or .pickle')
    if args.out and any(args.out.resolve() == Path(p).resolve() for p in args.dumps):
        parser.error(f'--out {args.out} would overwrite an input dump')
    if len({Path(path).resolve() for path in args.dumps}) < len(args.dumps):
        parser.error(f'duplicate dump: {" ".join(args.dumps)}; use --weights instead')
    try:
        dumps = [load_dump(path) for path in args.dumps]
        scores = fuse(dumps, args.weights, args.apply_softmax)
        rows = {dump.path: accuracies(dump.scores, dump.labels) for dump in dumps}
        if len(dumps) > 1:
            rows['ensemble'] = accuracies(scores, dumps[0].labels)
        if args.out:
            weights = args.weights or [1] * len(dumps)
            write_dump(args.out, scores / sum(weights), dumps[0])
    except (OSError, ValueError, pickle.UnpicklingError) as error:
        parser.exit(2, f'error: {error}\n')
    nameless = [dump.path for dump in dumps if not all(dump.names)]
    if nameless and len(dumps) > 1:
        print(
            f'warning: {", ".join(nameless)}: no clip names, so the clip order is '
            "checked by label only; add 'filename' to the meta_keys of "
            'PackActionInputs',
            file=sys.stderr,
        )
    print(f'Accuracy in percent on {len(scores)} clips:\n\n{show_table(rows)}')
    if args.out:
        print(f'\n{args.out} written')


if __name__ == '__main__':
    main()
