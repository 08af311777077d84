# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Create class names and lists of your own videos; see docs/own-videos.md."""

import argparse
import os
import shlex
import sys
import traceback
from pathlib import Path

from selfy_mmaction.data_preparation.own_videos import (
    prepare_own_videos,
    show_own_videos,
)

DEFAULT_OUT = 'data/own'
CONFIG = 'configs/own/selfy-tsn-r18-slim_1xb8-1x1x8-20e_own-rgb.py'


def make_parser() -> argparse.ArgumentParser:
    """Create the parser."""
    parser = argparse.ArgumentParser(
        description='Write the class names and the lists for train, val and test that '
        'configs/own read. Every frame of every video is decoded first. Run the same '
        'command again to resume an interrupted run.'
    )
    add = parser.add_argument
    add(
        'source',
        metavar='FOLDER_OR_LIST',
        help='folder with one folder per class, perhaps below folders train, val and '
        'test; or a CSV or TSV file with the columns path and label, and perhaps group '
        'and split',
    )
    add(
        '--out',
        default=DEFAULT_OUT,
        help=f'folder of the lists, created if missing (default {DEFAULT_OUT})',
    )
    add('--val', type=float, default=0.15, help='fraction for val (default 0.15)')
    add('--test', type=float, default=0.15, help='fraction for test (default 0.15)')
    add('--seed', type=int, default=0, help='seed of the split (default 0)')
    add(
        '--group-by',
        metavar='REGEX',
        help='keep clips of one source video in one split: a regular expression whose '
        "parentheses enclose the name of the source in the file name, such as '(.+)_' "
        'for all before the last _ (in the path, if it contains a /), or "parent": the '
        'folder below the one of the class',
    )
    add(
        '--min-frames',
        type=int,
        default=8,
        help='least number of frames of a video (default 8)',
    )
    add(
        '--skip-unreadable',
        action='store_true',
        help='leave out videos that cannot be read or are too short',
    )
    add('--overwrite', action='store_true', help='replace files that differ')
    add('--workers', type=int, help='processes (default: number of CPUs)')
    return parser


def next_command(out: str, decoder: str) -> str:
    """Return the command that trains on the lists, with what the configs need."""
    command = f'python -m selfy_mmaction.run train {CONFIG}'
    if decoder != 'Decord':
        command = f'SELFY_DECODER={decoder} {command}'
    if Path(out) != Path(DEFAULT_OUT):
        command = f'SELFY_DATA={shlex.quote(os.path.join(out, ""))} {command}'
    return command


def main() -> None:
    """Run the command line."""
    parser = make_parser()
    args = parser.parse_args()
    # Class and file names may hold characters that the terminal cannot encode.
    sys.stdout.reconfigure(errors='backslashreplace')
    if args.workers is not None and args.workers < 1:
        parser.error(f'--workers must be at least 1, got {args.workers}')
    try:
        record = prepare_own_videos(**vars(args))
    except (ValueError, OSError) as error:
        parser.exit(2, f'error: {error}\n')
    except KeyboardInterrupt:
        parser.exit(130, '\ninterrupted; run the same command again to resume\n')
    except Exception:
        # Exit code 1 would mean that the videos are not fit for training.
        traceback.print_exc()
        parser.exit(2, f'error: {parser.prog} failed; please report the lines above\n')
    print(show_own_videos(record))
    print(f'\nThe lists are in {args.out}. Next:')
    print(f'  {next_command(args.out, record["decoder"])}')


if __name__ == '__main__':
    main()
