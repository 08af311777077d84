# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Recognize actions in live video: a camera, a stream or a video.

    python tools/live.py 0
    python tools/live.py rtsp://HOST/PATH CONFIG CHECKPOINT
    python tools/live.py VIDEO CONFIG CHECKPOINT --mode exact --clip-seconds 4

Results are lines of JSON on standard output; all else is on standard error. Exit code 0
at the end of a video, and if a camera or stream is stopped by Ctrl-C or SIGTERM; 1 if
the source is lost or standard output is closed; 2 if the command is wrong or the source
cannot be opened; 130 (Ctrl-C) or 143 (SIGTERM) if a video is stopped.
"""

import argparse
import math
import os
import signal
import sys
from contextlib import closing
from types import FrameType

import cv2

from selfy_mmaction.inference import Predictor
from selfy_mmaction.live.display import (
    LiveWindow,
    NoWindowError,
    check_window,
    terminal_line,
)
from selfy_mmaction.live.frame_rate import check_rate, choose_rate
from selfy_mmaction.live.reader import FrameReader, check_reconnect
from selfy_mmaction.live.recognizers import MODES, make_recognizer, sampling_of
from selfy_mmaction.live.session import LiveResult, LiveSession, as_line
from selfy_mmaction.live.sources import TIMEOUT, VideoSource
from selfy_mmaction.ops import check_int


def make_parser() -> argparse.ArgumentParser:
    """Create the parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('source', help='index of a camera, such as 0; URL (RTSP, HTTP); or video')
    add(
        'config',
        nargs='?',
        help='config of the training: a path, or PACKAGE::NAME (default: the network '
        'in this package)',
    )
    add('checkpoint', nargs='?', help='weights: a path or URL')
    add('--classes', help='class names, one per line (default: those of the training)')
    add(
        '--top-k', type=int, default=5, help='classes per result (default: %(default)s)'
    )
    add('--device', help='such as cpu or cuda:1 (default: the first GPU, else the CPU)')
    add(
        '--mode',
        choices=MODES,
        default='window',
        help='window: the result of the network for the last T frames; exact: stream '
        'frame by frame and average the last T frames (default: %(default)s)',
    )
    add(
        '--fps',
        type=float,
        help='frames per second for the network (default: those of the test pipeline, '
        'or T frames in 2 seconds if it spreads frames over whole videos)',
    )
    add('--clip-seconds', type=float, help='set --fps so that T frames span this')
    add(
        '--stride',
        type=int,
        help='frames per result (default: 1; a quarter of T if the network cannot '
        'stream)',
    )
    add(
        '--realtime',
        action='store_true',
        help='play a video at its own speed and drop frames like a camera (default: '
        'use each frame of the rate)',
    )
    add(
        '--queue',
        type=int,
        default=2,
        help='most frames that wait for the network (default: %(default)s)',
    )
    add(
        '--reconnect',
        type=float,
        default=math.inf,
        metavar='SECONDS',
        help='how long a camera or stream that fails is opened again and again; 0: '
        'never (default: %(default)s)',
    )
    add(
        '--timeout',
        type=float,
        default=TIMEOUT,
        metavar='SECONDS',
        help='after which a stream that sends nothing has failed (default: '
        '%(default)s)',
    )
    add(
        '--max-gap',
        type=float,
        metavar='SECONDS',
        help='without a frame, after which the network starts anew (default: four '
        'frames of its rate, at least 0.5)',
    )
    add(
        '--show',
        action='store_true',
        help='also show the frames of the network and their classes in a window',
    )
    return parser


class Signals:
    """Remembers SIGINT and SIGTERM; the second one ends the process.

    The handler only stores a number: what needs a lock could wait for itself.

    Attributes:
        received: Number of the signal; None if there was none.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number


def say(text: str) -> None:
    """Print to standard error."""
    print(text, file=sys.stderr, flush=True)


def prepare(args: argparse.Namespace) -> tuple[VideoSource, LiveSession, Predictor]:
    """Check the arguments, open the source and load the network.

    Raises:
        NoWindowError: If ``--show`` is not possible.
        OSError: If a file does not exist.
        ValueError: If an argument is wrong or the source cannot be opened.
    """
    check_rate(args.fps, args.clip_seconds)
    check_reconnect(args.reconnect, args.max_gap)
    check_int('queue', args.queue, least=1)
    check_int('top_k', args.top_k, least=1)
    if args.stride is not None:
        check_int('stride', args.stride, least=1)
    if not 0 < args.timeout < math.inf:
        raise ValueError(f'timeout is {args.timeout:g}, expected seconds above 0')
    if 'OPENCV_LOG_LEVEL' not in os.environ:
        # Each failed attempt would print several lines.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    source = VideoSource(args.source, args.timeout)
    if args.show:
        check_window()
    source.open()
    predictor = Predictor(
        args.config,
        args.checkpoint,
        classes=args.classes,
        top_k=args.top_k,
        device=args.device,
    )
    recognizer = make_recognizer(predictor, args.mode, args.stride)
    rate = choose_rate(sampling_of(predictor), source.fps, args.fps, args.clip_seconds)
    reader = FrameReader(
        source,
        rate.fps,
        realtime=args.realtime,
        queue_size=args.queue,
        reconnect=args.reconnect,
        max_gap=args.max_gap,
    )
    if args.config is None:
        say(
            'note: without CONFIG, the network in this package recognizes only the '
            'motions of the motion benchmark'
        )
    drops = source.is_live or args.realtime
    how = 'frames are dropped' if drops else 'reading waits'
    known = f', {source.fps:g} frames per second' if source.fps else ''
    kind = 'live' if source.is_live else 'a video'
    say(f'source: {source.name}, {kind}{known}; {how} if the network is too slow')
    say(f'rate: {rate.fps:g} frames per second ({rate.reason})')
    if source.fps and source.fps < 0.99 * rate.fps:
        say(
            'note: the source has fewer frames per second than the network expects, so '
            'things seem to move faster'
        )
    say(f'mode: {recognizer.about}')
    height, width = source.size
    recognizer.warm_up(height or 480, width or 640)
    return source, LiveSession(reader, recognizer), predictor


def run(
    args: argparse.Namespace,
    session: LiveSession,
    predictor: Predictor,
    signals: Signals,
) -> bool:
    """Print results until the source ends, a signal comes or the window is closed.

    Returns:
        Whether the source has ended.
    """
    window = LiveWindow() if args.show else None
    has_line = sys.stderr.isatty() and not sys.stdout.isatty()
    reader, was_waiting = session.reader, False
    try:
        with closing(session.run()) as items:
            for item in items:
                if reader.is_waiting and not was_waiting:
                    say('the source failed; it is opened again')
                was_waiting = reader.is_waiting
                if item is not None:
                    print(as_line(item, predictor.class_names, args.top_k), flush=True)
                if isinstance(item, LiveResult):
                    top = item.top(predictor.class_names, args.top_k)
                    if has_line:
                        print(terminal_line(item, top[0]), end='', file=sys.stderr)
                    if window:
                        window.show(item.frame.image, top, item)
                elif item is not None:
                    say(f'reset at {item.seconds:.2f} s: {item.reason}')
                if signals.received is not None or (window and not window.is_open()):
                    return False
        return True
    finally:
        if has_line:
            say('')
        if window:
            window.close()


def leave(code: int, session: LiveSession) -> None:
    """End the process, also if the source blocks its thread."""
    if session.reader.is_alive():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main() -> None:
    """Run the command line."""
    parser = make_parser()
    args = parser.parse_args()
    sys.stdout.reconfigure(encoding='utf-8')  # JSON is, whatever the terminal has
    sys.stderr.reconfigure(errors='backslashreplace')
    try:
        source, session, predictor = prepare(args)
    except (NoWindowError, OSError, ValueError) as error:
        parser.exit(2, f'error: {error}\n')
    except KeyboardInterrupt:
        parser.exit(130, '\ninterrupted before the first frame\n')
    signals = Signals()
    try:
        has_ended = run(args, session, predictor, signals)
    except BrokenPipeError:  # such as `| head`
        # Python would flush into the closed pipe at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        say(f'standard output is closed\n{session.summary()}')
        leave(1, session)
    except (TimeoutError, ValueError) as error:
        say(f'error: {source.name}: {error}\n{session.summary()}')
        leave(1, session)
    say(session.summary())
    if session.reader.is_lost:
        say(
            f'error: {source.name} failed and did not come back within '
            f'{args.reconnect:g} s'
        )
        leave(1, session)
    is_stopped = signals.received is not None and not has_ended
    leave(128 + signals.received if is_stopped and not source.is_live else 0, session)


if __name__ == '__main__':
    main()
