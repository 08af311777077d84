# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Facts and problems of videos, found by decoding them and kept for the next run."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2

from selfy_mmaction.atomic_files import replacing

from ..decoding import codec_name, decoding_problems
from ..media import is_damage, progress_bar, run_parallel, video_problem
from ..media_checks import may_decode
from .clips import Clip

CACHE = 'checked_videos.json'
PIECE = 32  # videos between two writes of the cache, at least
MOST_WRITES = 50
FEW_FRAMES = 64  # headers may be off by some frames: count so few


@dataclass(frozen=True)
class Facts:
    """What is known about a video; 0 or empty if unknown.

    Attributes:
        frames: Number of frames.
        rate: Frames per second.
        width: Width in pixels, rotated upright.
        height: Height in pixels, rotated upright.
        codec: Code of the codec, such as ``h264``.
        rotated: Whether the frames are stored sideways or upside down.
        problem: Kind and sentence without a subject; None if it can be read.
    """

    frames: int
    rate: float
    width: int
    height: int
    codec: str
    rotated: bool
    problem: tuple[str, str] | None

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.frames / self.rate if self.rate else 0.0


def inspect_videos(
    clips: Sequence[Clip], decoder: str, workers: int | None, cache: Path
) -> list[Facts]:
    """Decode all frames of videos with the decoder that training uses.

    Results are written to a file every few videos. The next call reuses those of
    videos whose size and time of change are the same.

    Args:
        clips: Clips.
        decoder: ``'Decord'``, ``'OpenCV'``, ``'PyAV'`` or ``'PIMS'``.
        workers: Number of processes and threads; None for the number of processors.
        cache: File of the results.

    Returns:
        The facts of each clip.
    """
    keys = [_key(clip.file, decoder) for clip in clips]
    known = _read_cache(cache)
    known = {key: known[key] for key in keys if key in known}
    waiting = [i for i, key in enumerate(keys) if key not in known]
    files = [clips[i].file for i in waiting]
    headers = run_parallel(_read_header, files, workers, 'reading the headers')
    with progress_bar(len(waiting), f'decoding all frames with {decoder}') as progress:
        step = max(PIECE, len(waiting) // MOST_WRITES)
        for start in range(0, len(waiting), step):
            piece = range(start, min(start + step, len(waiting)))
            decoded = [i for i in piece if may_decode(headers[i].problem, decoder)]
            problems = dict(
                zip(
                    decoded,
                    decoding_problems(
                        [files[i] for i in decoded], decoder, workers, progress
                    ),
                    strict=True,
                )
            )
            for i in piece:
                if i not in problems:
                    progress()
                facts = asdict(headers[i])
                facts['problem'] = problems.get(i, headers[i].problem)
                known[keys[waiting[i]]] = Facts(**facts)
            _write_cache(cache, known)
    return [known[key] for key in keys]


def _key(file: Path, decoder: str) -> str:
    try:
        status = os.stat(file)
    except OSError:  # a link to nothing
        return f'{decoder} missing {file}'
    path = os.path.realpath(file)
    return f'{decoder} {status.st_size} {status.st_mtime_ns} {path}'


def _read_header(file: Path) -> Facts:
    problem = video_problem(file)
    if is_damage(problem):
        return Facts(0, 0.0, 0, 0, '', False, problem)
    capture = cv2.VideoCapture(str(file))
    try:
        frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = capture.get(cv2.CAP_PROP_FPS)
        codec = codec_name(capture)
        found, frame = capture.read()
        height, width = frame.shape[:2] if found else (0, 0)
        if frames < FEW_FRAMES:
            frames = int(found)
            while capture.grab():
                frames += 1
    finally:
        capture.release()
    # Some files declare the clock of their timestamps as the rate.
    rate = round(rate, 3) if 0 < rate < 1000 else 0.0
    return Facts(frames, rate, width, height, codec, problem is not None, None)


def _read_cache(cache: Path) -> dict[str, Facts]:
    try:
        content: dict[str, Any] = json.loads(cache.read_text('utf-8'))
        return {key: Facts(**facts) for key, facts in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # it does not exist, or is of another version


def _write_cache(cache: Path, known: dict[str, Facts]) -> None:
    content = {key: asdict(facts) for key, facts in known.items()}
    with replacing(cache) as partial:
        # ASCII, since a path may not be UTF-8.
        partial.write_text(json.dumps(content, indent=0) + '\n', 'ascii')
