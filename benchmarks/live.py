# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Memory and latency of `run live` on a long generated video.

    python benchmarks/live.py --minutes 60

The video shows clips of the motion benchmark one after another, so its class changes
every 2 s. The command runs with the network in this package; its resident memory is
read between its results. Needs Linux (/proc).
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from selfy_mmaction.motion_benchmark import class_names, clip_label, render_clip
from selfy_mmaction.motion_benchmark.generation import FRAMES_PER_SECOND

ROOT = Path(__file__).parents[1]
_REPEATS = 2  # 24 frames per second, as of a camera, from 12
_CLIPS = 24  # rendered ones, which are shown again and again


class Sample(NamedTuple):
    """Memory after a part of the video, in MiB."""

    minute: float
    rss: float


def write_video(path: Path, minutes: float, width: int) -> list[str]:
    """Write a video of clips of the motion benchmark.

    Args:
        path: File to write, .avi.
        minutes: Length.
        width: Width and height in pixels; clips of 68 pixels are enlarged.

    Returns:
        Class of each clip in it, in order.
    """
    clips = [render_clip('small', 'val', index) for index in range(_CLIPS)]
    names = class_names('small')
    number = max(1, round(60 * minutes * FRAMES_PER_SECOND / len(clips[0])))
    writer = cv2.VideoWriter(
        str(path),
        cv2.VideoWriter_fourcc(*'MJPG'),
        FRAMES_PER_SECOND * _REPEATS,
        (width, width),
    )
    for index in range(number):
        for frame in clips[index % _CLIPS]:
            image = cv2.resize(frame, (width, width))[..., ::-1]
            for _ in range(_REPEATS):
                writer.write(np.ascontiguousarray(image))
    writer.release()
    shown = (clip_label('small', index % _CLIPS) for index in range(number))
    return [names[label] for label in shown]


def resident(pid: int, field: str = 'VmRSS') -> float:
    """Read the memory of a process in MiB."""
    text = Path(f'/proc/{pid}/status').read_text()
    return int(re.search(rf'{field}:\s+(\d+)', text)[1]) / 1024


def measure(
    video: Path, options: Sequence[str]
) -> tuple[list[Sample], list[dict], str]:
    """Run the command.

    Returns:
        Memory every half minute of the video and at its end, the results, and what was
        printed to standard error.

    Raises:
        SystemExit: If the command fails.
    """
    command = [sys.executable, ROOT / 'tools' / 'live.py', video, *options]
    samples, results = [], []
    with tempfile.TemporaryFile('w+', encoding='utf-8') as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, encoding='utf-8'
        )
        for line in process.stdout:
            result = json.loads(line)
            results.append(result)
            minute = result['time'] / 60
            if not samples or minute >= samples[-1].minute + 0.5:
                samples.append(Sample(minute, resident(process.pid)))
        code = process.wait()
        errors.seek(0)
        text = errors.read()
    if code:
        raise SystemExit(f'the command failed with {code}:\n{text}')
    return samples, results, text


def show_accuracy(results: Sequence[dict], names: Sequence[str], fps: float) -> None:
    """Print how often a result names the clip that has just ended.

    Exact streaming sees neighbors in the next clip, and lags by its delay.
    """
    for late in range(4):
        # Frame 8 of the first clip is the first one of the second clip.
        firsts = (round(2 * (clip + 1) * fps) for clip in range(len(names)))
        wanted = {
            first - 1 + late: name for first, name in zip(firsts, names, strict=True)
        }
        pairs = [
            (wanted[r['frame']], r['top'][0]['name'])
            for r in results
            if r['frame'] in wanted
        ]
        right = np.mean([name == found for name, found in pairs])
        print(
            f'right {late} frames after the last of a clip: {right:.1%} of {len(pairs)}'
        )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--minutes', type=float, default=60, help='length (default: %(default)s)')
    add('--width', type=int, default=68, help='pixels (default: %(default)s)')
    add('--mode', default='window', help='mode of the command (default: %(default)s)')
    add(
        '--fps',
        type=float,
        default=4,
        help='rate of the command (default: %(default)s)',
    )
    add('--realtime', action='store_true', help='play the video at its own speed')
    args = parser.parse_args()
    if not args.minutes > 0 or args.width < 64:
        parser.error('expected --minutes above 0 and --width of at least 64')
    options = ['--mode', args.mode, '--fps', str(args.fps), '--top-k', '1']
    options += ['--realtime'] if args.realtime else []
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder, 'video.avi')
        names = write_video(video, args.minutes, args.width)
        size = video.stat().st_size / 2**20
        print(f'{args.minutes:g} minutes of {args.width} pixels, {size:.0f} MiB')
        begin = time.monotonic()
        samples, results, text = measure(video, options)
        seconds = time.monotonic() - begin
    print(f'{len(results)} results in {seconds:.0f} s')
    shown = samples[:: max(1, len(samples) // 12)]
    for minute, rss in dict.fromkeys([*shown, samples[-1]]):
        print(f'minute {minute:5.1f}: {rss:7.1f} MiB')
    half = samples[len(samples) // 2 :]
    print(
        f'largest {max(rss for _, rss in samples):.1f} MiB; second half '
        f'{half[-1].rss - half[0].rss:+.1f} MiB'
    )
    if args.fps == 4:  # the rate of the training
        show_accuracy(results, names, args.fps)
    print(text)


if __name__ == '__main__':
    main()
