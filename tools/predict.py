# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Predict the actions in videos, folders of videos or a camera.

    python tools/predict.py VIDEO FOLDER --config CONFIG --checkpoint CHECKPOINT
    python tools/predict.py LONG_VIDEO --window 2 --stride 1 --timeline timeline.png ...
    python tools/predict.py --webcam 0 ...

Without arguments, the network in this package predicts for its sample clip. Exit code 0
if every video was predicted, 1 if some could not be read, 2 if the command is wrong.
"""

import argparse
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.datasets.reading import UnreadableError
from selfy_mmaction.inference import Prediction, Predictor
from selfy_mmaction.inference.camera import watch
from selfy_mmaction.inference.results import (
    ResultsFile,
    check_results_path,
    name_pictures,
    show_prediction,
    show_window,
)
from selfy_mmaction.inference.timeline import draw_timeline
from selfy_mmaction.inference.videos import check_seconds, find_videos


def make_parser() -> argparse.ArgumentParser:
    """Create the parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('videos', nargs='*', metavar='VIDEO', help='videos, or folders of videos')
    add('--config', help='config of the training: a path, or PACKAGE::NAME')
    add('--checkpoint', help='weights: a path or URL')
    add('--classes', help='class names, one per line (default: those of the training)')
    add('--top-k', type=int, default=5, help='classes to show (default: %(default)s)')
    add(
        '--out',
        type=Path,
        help='write the predictions to a .json, .jsonl or .csv file; or to an existing '
        'folder, as predictions.json, predictions.csv and, with --window, pictures',
    )
    add(
        '--window',
        type=float,
        help='seconds per prediction in longer videos (default: each video is one clip '
        'as in test.py; 2 for a camera)',
    )
    add('--stride', type=float, help='seconds between windows (default: --window)')
    add('--timeline', type=Path, help='picture of the classes over time, as .png')
    add('--device', help='such as cpu or cuda:1 (default: the first GPU, else the CPU)')
    add(
        '--batch-size',
        type=int,
        default=8,
        help='windows in memory at once (default: %(default)s)',
    )
    add(
        '--webcam', metavar='INDEX', help='camera, such as 0, or a video to play as one'
    )
    return parser


def check_arguments(args: argparse.Namespace) -> list[str]:
    """Check the arguments, which takes no time, and return the videos.

    Raises:
        OSError: If a video or the folder of a file to write does not exist.
        ValueError: If arguments are wrong or contradict each other.
    """
    check_seconds(args.window, args.stride if args.webcam is None else None)
    if args.webcam is not None:
        for name in ('videos', 'timeline'):
            if getattr(args, name):
                raise ValueError(f'--webcam and {name} cannot be combined')
        if args.out and args.out.suffix.lower() != '.jsonl':
            raise ValueError(
                f'--out {args.out} must end in .jsonl with --webcam: a camera has no '
                'end, and its predictions are written one by one'
            )
    videos = find_videos(args.videos or SAMPLE_CLIP) if args.webcam is None else []
    if args.out and not args.out.is_dir():
        check_results_path(args.out)
    if args.timeline:
        if args.window is None:
            raise ValueError('--timeline needs --window, the seconds per prediction')
        if len(videos) > 1:
            raise ValueError(
                f'--timeline is one picture, but there are {len(videos)} videos; give '
                'an existing folder as --out'
            )
        if args.timeline.suffix.lower() != '.png':
            raise ValueError(f'--timeline {args.timeline} must end in .png')
        if not args.timeline.parent.is_dir():
            raise FileNotFoundError(
                f'--timeline {args.timeline}: the folder {args.timeline.parent} does '
                'not exist; create it'
            )
    return videos


def run_on_videos(
    args: argparse.Namespace, predictor: Predictor, videos: list[str]
) -> int:
    """Predict for videos, and return the number of unreadable ones."""
    pictures: dict[str, Path] = {}
    if args.timeline:
        pictures = {videos[0]: args.timeline}
    elif args.window and args.out and args.out.is_dir():
        pictures = name_pictures(videos, args.out)
    unreadable = 0
    with ExitStack() as stack:
        paths = [args.out] if args.out else []
        if args.out and args.out.is_dir():
            paths = [args.out / f'predictions.{kind}' for kind in ('json', 'csv')]
        files = [stack.enter_context(ResultsFile(path)) for path in paths]
        for number, video in enumerate(videos, start=1):
            count = f'[{number}/{len(videos)}] ' if len(videos) > 1 else ''
            windows: list[Prediction] = []
            try:
                for result in predictor.predict(video, args.window, args.stride):
                    for file in files:
                        file.add(result)
                    if args.window is None:
                        print(f'{count}{show_prediction(result)}', flush=True)
                        continue
                    if not windows:
                        print(f'{count}{video}')
                    print(show_window(result), flush=True)
                    windows.append(result)
            except UnreadableError as error:
                unreadable += 1
                for file in files:
                    file.add_error(video, str(error))
                print(f'{count}error: {error}', file=sys.stderr, flush=True)
            if windows and video in pictures:
                draw_timeline(pictures[video], windows, predictor.class_names)
                print(f'  timeline: {pictures[video]}')
    for path in paths:
        print(f'{path} written')
    return unreadable


def run_on_camera(args: argparse.Namespace, predictor: Predictor) -> None:
    """Print the class of the newest frames until the camera ends or Ctrl-C."""
    window = args.window or 2.0
    print(f'camera {args.webcam}: Ctrl-C stops; the first result takes {window:g} s')
    with ExitStack() as stack:
        file = args.out and stack.enter_context(args.out.open('a', encoding='utf-8'))
        results = watch(predictor, args.webcam, window, args.stride or 1.0)
        stack.callback(results.close)
        for result in results:
            line = show_window(result.prediction)
            print(
                f'{line}  (latency {result.latency:.2f} s, {result.fps:.0f} frames per '
                'second)',
                flush=True,
            )
            if file:
                content = dict(result.prediction.as_dict(), latency=result.latency)
                file.write(json.dumps(content, ensure_ascii=False) + '\n')
                file.flush()
    print('the camera has ended')


def main() -> None:
    """Run the command line."""
    parser = make_parser()
    args = parser.parse_args()
    # Class and file names may hold characters that the terminal cannot encode.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors='backslashreplace')
    try:
        videos = check_arguments(args)
        predictor = Predictor(
            args.config,
            args.checkpoint,
            classes=args.classes,
            top_k=args.top_k,
            device=args.device,
            batch_size=args.batch_size,
        )
        if args.config is None and (args.videos or args.webcam is not None):
            print(
                'note: without --config, the network in this package predicts, which '
                'knows only the motions of the motion benchmark',
                file=sys.stderr,
            )
        if args.webcam is not None:
            try:
                run_on_camera(args, predictor)
            except KeyboardInterrupt:
                print('\nstopped')
            return
        unreadable = run_on_videos(args, predictor, videos)
    except BrokenPipeError:  # such as `| head`
        os._exit(1)
    except (OSError, ValueError) as error:
        parser.exit(2, f'error: {error}\n')
    except KeyboardInterrupt:
        parser.exit(130, '\ninterrupted; results so far are written\n')
    if unreadable:
        parser.exit(1, f'{unreadable} of {len(videos)} videos could not be read\n')


if __name__ == '__main__':
    main()
