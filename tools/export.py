# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Export a trained network to ONNX, TorchScript or PT2.

    python tools/export.py CONFIG CHECKPOINT network.onnx
    python tools/export.py CONFIG CHECKPOINT network.pt --format torchscript

The file maps frames to probabilities and needs neither this package nor mmaction2. With
--stream, it maps the next frame and a state to probabilities and the next state. It is
compared with the network on frames of a video and written, with a description in
JSON beside it, only if both agree. Exit code 0 if they do, 1 if they do not, 2 if the
command is wrong or the network cannot be exported.
"""

import argparse
import sys
from pathlib import Path

from selfy_mmaction.datasets.reading import UnreadableError
from selfy_mmaction.deployment.exported_network import INPUTS
from selfy_mmaction.deployment.exported_stream import STREAMS
from selfy_mmaction.deployment.exporting import ComparisonError, export_network
from selfy_mmaction.deployment.formats import FORMATS


def make_parser() -> argparse.ArgumentParser:
    """Create the parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('config', help='config of the training: a path, or PACKAGE::NAME')
    add('checkpoint', help='weights: a path or URL')
    add('out', type=Path, help='file to write')
    add(
        '--format',
        choices=tuple(FORMATS),
        default='onnx',
        help='format of the file (default: %(default)s)',
    )
    add(
        '--dynamic',
        choices=('batch', 'none'),
        default='batch',
        help='sizes that may vary: the number of clips, or none, which fixes it to 1 '
        '(default: %(default)s)',
    )
    add('--half', action='store_true', help='compute in float16 (default: float32)')
    add(
        '--tolerance',
        type=float,
        help='largest difference of log probabilities allowed (default: 0.001, or 0.1 '
        'with --half)',
    )
    add(
        '--input',
        choices=INPUTS,
        default='frames',
        help='uint8 frames, normalized in the file, or normalized float32 frames '
        '(default: %(default)s)',
    )
    add(
        '--stream',
        choices=STREAMS,
        help='take one frame at a time and a state: the whole sequence exactly, or the '
        'last T frames (default: whole clips)',
    )
    add(
        '--average-frames',
        type=int,
        metavar='N',
        help='number of last frames whose scores --stream exact averages (default: all '
        'since the beginning)',
    )
    add(
        '--check',
        metavar='VIDEO',
        help='video for the comparison (default: the sample clip of this package)',
    )
    add('--classes', help='class names, one per line (default: those of the training)')
    return parser


def main() -> None:
    """Run the command line."""
    parser = make_parser()
    args = parser.parse_args()
    if args.average_frames is not None and args.stream != 'exact':
        parser.error('--average-frames needs --stream exact')
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors='backslashreplace')
    try:
        result = export_network(
            args.config,
            args.checkpoint,
            args.out,
            args.format,
            takes=args.input,
            dynamic=args.dynamic == 'batch',
            half=args.half,
            tolerance=args.tolerance,
            stream=args.stream,
            average_frames=args.average_frames,
            video=args.check,
            classes=args.classes,
        )
    except ComparisonError as error:
        parser.exit(1, f'error: {error}\n')
    except UnreadableError as error:
        reason = str(error).removeprefix('ValueError: ')
        parser.exit(2, f'error: {args.check} cannot be read: {reason}\n')
    except (ImportError, OSError, ValueError) as error:
        parser.exit(2, f'error: {error}\n')
    except KeyboardInterrupt:
        parser.exit(130, '\ninterrupted; nothing is written\n')
    things = 'clips' if result.steps is None else f'streams of {result.steps} frames'
    print(
        f'batches of {", ".join(map(str, result.batches))} {things}: largest '
        f'difference of a probability {result.largest_difference:.2g}, of its '
        f'logarithm {result.largest_log_difference:.2g}; same top-1 for '
        f'{result.top1_agreement:.0%} of the results'
    )
    print(f'{args.out} and {args.out}.json written')


if __name__ == '__main__':
    main()
