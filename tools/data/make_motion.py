# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Generate the motion benchmark; see docs/motion-benchmark.md."""

import argparse

from selfy_mmaction.motion_benchmark import PRESETS, make_motion


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description='Generate the motion benchmark: videos, annotation lists and '
        'motion.json. Run the same command again to resume an interrupted run.'
    )
    parser.add_argument('out', metavar='OUT', help='output folder, created if missing')
    parser.add_argument(
        '--preset',
        default='small',
        help=f'one of {", ".join(PRESETS)} (default: %(default)s)',
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='seed of the clips, 0 or greater (default: %(default)s)',
    )
    parser.add_argument(
        '--workers', type=int, help='number of processes (default: number of CPUs)'
    )
    args = parser.parse_args()
    try:
        summary = make_motion(args.out, args.preset, args.seed, args.workers)
    except (ValueError, OSError, RuntimeError) as error:
        parser.exit(2, f'error: {error}\n')
    except KeyboardInterrupt:
        parser.exit(130, '\ninterrupted; run the same command again to resume\n')
    print(
        f'{args.out}: {sum(summary["clips"].values())} clips, '
        f'{summary["bytes"] / 1e6:.1f} MB, fingerprint {summary["fingerprint"]}'
    )


if __name__ == '__main__':
    main()
