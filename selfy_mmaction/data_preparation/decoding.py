# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Check that the training decoder returns the right frames of whole clips."""

import importlib.util
import logging
import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import cv2
import decord
import numpy as np
from mmaction.registry import TRANSFORMS

from selfy_mmaction.datasets.video_files import find_container

DECODERS = {'Decord': 'decord', 'OpenCV': 'cv2', 'PyAV': 'av', 'PIMS': 'av'}
"""Package of each decoder that SELFY_DECODER accepts."""


TIMEOUT = 300  # seconds for all frames of a clip
PIECE_BYTES = 128 * 2**20  # frames in memory at once
NUM_SEGMENTS = 8
NUM_COMPARED = 64
THUMBNAIL = (16, 16)

# Decoders differ by less on the same frame, in gray levels (0 to 255).
TOLERANCE = 3
# Seconds, and fraction of the declared duration, that may be missing.
SPARE_SECONDS, SPARE_PART = 0.5, 0.1

DECORD_PLACE = re.compile(r'\[\d\d:\d\d:\d\d\] \S+: ')


def chosen_decoder() -> str:
    """Return the decoder that SELFY_DECODER selects for training.

    Raises:
        ValueError: If the decoder is unknown or not installed.
    """
    decoder = os.environ.get('SELFY_DECODER', 'Decord')
    if decoder == 'RawFrame':  # reads no videos: check them with the default
        decoder = 'Decord'
    if decoder not in DECODERS:
        raise ValueError(
            f'SELFY_DECODER={decoder!r} is unknown; choose one of '
            f'{", ".join(DECODERS)}, RawFrame'
        )
    package = DECODERS[decoder]
    if importlib.util.find_spec(package) is None:
        raise ValueError(
            f'SELFY_DECODER={decoder} needs the package {package!r}, which is not '
            f'installed; pip install {package}'
        )
    return decoder


def decoding_problems(
    paths: Sequence[Path],
    decoder: str,
    workers: int | None,
    progress: Callable[[], None],
) -> list[tuple[str, str] | None]:
    """Find problems of videos by decoding all their frames.

    If the system supports fork, each video is decoded in its own process, because
    damaged videos may crash it. Call this function while no other thread is running.

    Args:
        paths: Paths of the videos.
        decoder: ``'Decord'``, ``'OpenCV'``, ``'PyAV'`` or ``'PIMS'``.
        workers: Number of parallel processes; None for the number of processors.
        progress: Called after each video.

    Returns:
        Per video None, or the kind of the problem (``'unreadable'``,
        ``'other_frames'``, ``'length'``) and a sentence without a subject.
    """
    check = _FrameCheck(decoder)
    if 'fork' not in multiprocessing.get_all_start_methods():
        problems = []
        for path in paths:
            problems.append(check(str(path)))
            progress()
        return problems
    found: dict[int, tuple[str, str] | None] = {}
    waiting = list(enumerate(paths))[::-1]
    running: dict[Connection, tuple[int, BaseProcess, float]] = {}
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)  # a forked process would wait for threads it does not have
    try:
        while waiting or running:
            while waiting and len(running) < (workers or os.cpu_count() or 1):
                index, path = waiting.pop()
                receiver, process = _start(check, path)
                running[receiver] = index, process, time.monotonic() + TIMEOUT
            first = min(deadline for *_, deadline in running.values())
            ready = wait(running, max(0, first - time.monotonic()))
            for receiver, (index, process, deadline) in list(running.items()):
                if receiver in ready:
                    found[index] = _receive(receiver, decoder)
                elif time.monotonic() >= deadline:
                    message = f'is not decoded by {decoder} within {TIMEOUT} seconds'
                    found[index] = 'unreadable', message
                else:
                    continue
                _end(receiver, process)
                del running[receiver]
                progress()
    finally:
        for receiver, (_, process, _) in running.items():
            _end(receiver, process)
        cv2.setNumThreads(threads)
    return [found[index] for index in range(len(paths))]


def _start(
    check: Callable[[str], tuple[str, str] | None], path: Path
) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)

    def check_and_send() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent kills this process
        logging.disable(logging.WARNING)  # mmengine's warning about FileClient
        sender.send(check(str(path)))

    process = context.Process(target=check_and_send, daemon=True)
    process.start()
    sender.close()  # the receiver then gets an EOFError if the process dies
    return receiver, process


def _receive(receiver: Connection, decoder: str) -> tuple[str, str] | None:
    try:
        return receiver.recv()
    except EOFError:
        return 'unreadable', f'crashes the process in which {decoder} decodes it'


def _end(receiver: Connection, process: BaseProcess) -> None:
    process.kill()
    process.join()
    receiver.close()


class _FrameCheck:
    """Decode a clip as in training and compare its frames with OpenCV's.

    Training opens a clip and requests some of its frames by index. This check requests
    one frame for each of eight segments, then all frames in pieces. OpenCV reads the
    same clip sequentially.
    """

    def __init__(self, decoder: str) -> None:
        self.decoder = decoder
        self._open = TRANSFORMS.build(dict(type=f'{decoder}Init'))
        self._decode = TRANSFORMS.build(dict(type=f'{decoder}Decode'))

    def __call__(self, path: str) -> tuple[str, str] | None:
        reference = _Reference(path)
        try:
            numbers, frames, size = self._ask(path, reference)
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return 'unreadable', (
                f'cannot be decoded by {self.decoder} ('
                f'{DECORD_PLACE.sub("", lines[-1])}); {reference.codec}; OpenCV '
                f'decodes {len(reference.frames)} frames'
            )
        if not len(reference.frames):  # OpenCV does not support the codec
            return None
        problem = self._compare(numbers, frames, size, reference)
        return problem or reference.length_problem()

    def _ask(
        self, path: str, reference: '_Reference'
    ) -> tuple[list[int], np.ndarray, tuple[int, int]]:
        """Return the indices of the requested frames, their thumbnails and size."""
        total = self._open({'filename': path})['total_frames']
        if total < 1:
            raise ValueError('it has no frames')
        segments = (2 * np.arange(NUM_SEGMENTS) + 1) * total // (2 * NUM_SEGMENTS)
        step = max(1, PIECE_BYTES // max(1, 3 * reference.size[0] * reference.size[1]))
        pieces = [range(i, min(i + step, total)) for i in range(0, total, step)]
        numbers, frames = [], []
        for piece in (segments, *pieces):
            results = self._open({'filename': path})
            results = self._decode({**results, 'frame_inds': np.array(piece)})
            numbers += map(int, piece)
            frames += map(thumbnail, results['imgs'])
        height, width = results['imgs'][0].shape[:2]
        return numbers, np.stack(frames), (width, height)

    def _compare(
        self,
        numbers: list[int],
        frames: np.ndarray,
        size: tuple[int, int],
        reference: '_Reference',
    ) -> tuple[str, str] | None:
        if size != reference.size:
            return 'other_frames', (
                f'has frames of {reference.size[0]}x{reference.size[1]} pixels, but '
                f'{self.decoder} returns {size[0]}x{size[1]}'
            )
        # The frames of the segments, and a subset of the others.
        step = max(1, (len(numbers) - NUM_SEGMENTS) // NUM_COMPARED)
        for index in (*range(NUM_SEGMENTS), *range(NUM_SEGMENTS, len(numbers), step)):
            number = numbers[index]
            distances = _distances(reference.frames, frames[index])
            own = distances[min(number, len(distances) - 1)]
            nearest = int(distances.argmin())
            if own > 2 * distances[nearest] + TOLERANCE:
                return 'other_frames', (
                    f'returns frame {nearest} instead of {number} with {self.decoder}'
                )
            turned = (np.rot90(frames[index], turns) for turns in (1, 2, 3))
            true = reference.frames[min(number, len(distances) - 1)]
            if own > 2 * min(_distances(x[None], true)[0] for x in turned) + TOLERANCE:
                return 'other_frames', f'is not rotated upright by {self.decoder}'
        return None


def thumbnail(frame: np.ndarray) -> np.ndarray:
    """Shrink a frame to 16x16 pixels, int16 so that differences do not overflow."""
    small = cv2.resize(frame, THUMBNAIL, interpolation=cv2.INTER_AREA)
    return small.astype(np.int16)


def _distances(frames: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Return the mean absolute difference of each of ``frames`` to ``frame``."""
    return np.abs(frames - frame).mean((1, 2, 3))


def _seconds_of_sound(path: str) -> float:
    try:
        return decord.AudioReader(path).duration()
    except (RuntimeError, decord.DECORDError):  # no sound
        return 0


class _Reference:
    """Frames of a video as OpenCV reads them sequentially.

    Attributes:
        frames: Thumbnails in RGB, (frames, 16, 16, 3), or (0,) if OpenCV reads none.
        size: Width and height of a frame, rotated upright.
        codec: Codec and size, for messages.
        declared: Duration in seconds that the container declares; 0 if unknown.
        seconds: Time of the end of the last frame in seconds.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        capture = cv2.VideoCapture(path)
        self.codec = describe_codec(capture)
        rate = capture.get(cv2.CAP_PROP_FPS)
        number = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.declared = max(number, 0) / rate if rate > 0 else 0
        self.size = (0, 0)
        self.frames = np.array(list(self._read(capture)))
        self.seconds = 0.0
        if rate > 0:  # some containers have no timestamps
            counted, last = len(self.frames) / rate, self._last / 1000 + 1 / rate
            self.seconds = max(counted, last)
        capture.release()

    def _read(self, capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
        self._last = 0.0
        found, frame = capture.read()
        while found:
            self.size = frame.shape[1::-1]
            self._last = capture.get(cv2.CAP_PROP_POS_MSEC)
            yield thumbnail(frame[..., ::-1])
            found, frame = capture.read()

    def length_problem(self) -> tuple[str, str] | None:
        """Return a problem if the frames end long before the declared duration."""
        with open(self.path, 'rb') as file:
            # The size already reveals a truncated MP4. Its declared duration may
            # include hidden frames (edit list of a video cut with "-c copy").
            if find_container(file) == 'MP4':
                return None
        enough = self.declared - max(SPARE_SECONDS, SPARE_PART * self.declared)
        if self.seconds >= enough or _seconds_of_sound(self.path) >= enough:
            return None
        return 'length', (
            f'ends after {self.seconds:.1f} of the {self.declared:.1f} seconds that '
            'it declares'
        )


def describe_codec(capture: cv2.VideoCapture) -> str:
    """Name codec and frame size of a video opened by OpenCV."""
    width = capture.get(cv2.CAP_PROP_FRAME_WIDTH)
    height = capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    return f'codec {codec_name(capture)}, {width:.0f}x{height:.0f} pixels'


def codec_name(capture: cv2.VideoCapture) -> str:
    """Return the four-character code of the codec of a video opened by OpenCV."""
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    return code.to_bytes(4, 'little').decode('ascii', 'replace').strip()
