# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Write the motion benchmark, see docs/motion-benchmark.md."""

import argparse

from selfy_mmaction.motion_benchmark import PRESETS, make_motion


def main() -> None:
    parser = argparse.ArgumentParser(
        description='Write the motion benchmark: videos, annotation lists and '
        'motion.json. Run the same command again to resume an interrupted run.'
    )
    parser.add_argument('out', help='folder to write to, created if need be')
    parser.add_argument(
        '--preset', default='small', help=f'one of {", ".join(PRESETS)} (default small)'
    )
    parser.add_argument('--seed', type=int, default=0, help='at least 0 (default 0)')
    parser.add_argument(
        '--workers', type=int, help='processes (default: the number of processors)'
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
