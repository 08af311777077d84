# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Videos and folders of frames: what is there, and whether it can be read."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
from mmengine.utils import ProgressBar

from selfy_mmaction.datasets.video_files import announced_size

from .decoding import decoding_problems, describe_codec
from .official_files import UNWRITABLE

VIDEO_SUFFIXES = ('.avi', '.flv', '.mkv', '.mov', '.mp4', '.webm')


def run_parallel(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    workers: int | None,
    title: str,
) -> list[Any]:
    """Run a function on items in threads, with a progress bar on stderr.

    Threads do, because OpenCV, decord, ffmpeg and the file system all run outside of
    Python's lock.

    Args:
        function: Function of one item.
        items: The items.
        workers: Number of threads. Default: the number of processors.
        title: What is done, shown before the bar.

    Returns:
        The results in the order of the items.
    """
    results = []
    with (
        progress_bar(len(items), title) as progress,
        ThreadPoolExecutor(workers or os.cpu_count()) as pool,
    ):
        try:
            for result in pool.map(function, items):
                results.append(result)
                progress()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results


@contextmanager
def progress_bar(total: int, title: str) -> Iterator[Callable[[], None]]:
    """Show a progress bar on stderr, if there is anything to do.

    Args:
        total: Number of things to do.
        title: What is done, shown before the bar.

    Yields:
        What is to be called after each.
    """
    if not total:
        yield lambda: None
        return
    print(title, file=sys.stderr)
    yield ProgressBar(total, file=sys.stderr).update
    print(file=sys.stderr)


def index_media(folder: Path, kind: str, depth: int = 1) -> dict[str, str]:
    """Videos or folders of frames in a folder, by their names.

    Args:
        folder: Folder.
        kind: ``videos`` or ``rawframes``.
        depth: 2 to look into subfolders (one a class), too. Default: 1.

    Returns:
        For each name (of a video without its ending) the path below the folder.

    Raises:
        ValueError: Two have the same name, or a path has a space or another character
            in it that mmaction2's lists cannot hold.
    """
    found: dict[str, str] = {}
    for path in _entries(folder, depth, folders=kind == 'rawframes'):
        name = os.path.basename(path)
        if kind == 'videos':
            name, suffix = os.path.splitext(name)
            # An interrupted cut leaves a partial file behind.
            if suffix.lower() not in VIDEO_SUFFIXES or name.endswith('.partial'):
                continue
        if len(path.split()) != 1:
            raise ValueError(
                f'{folder}/{path} has a space in it, which separates the columns of '
                "the lists; rename it (mmaction2's rename_classnames.sh puts _)"
            )
        if UNWRITABLE.search(path):
            raise ValueError(
                f'{folder} has {path!r}, a name with a control character or not in '
                'UTF-8, which the lists cannot hold; rename it'
            )
        if name in found:
            raise ValueError(
                f'{folder} holds {found[name]} and {path}; delete the wrong one'
            )
        found[name] = path
    return found


def _entries(folder: Path, depth: int, folders: bool) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                if folders:
                    yield entry.name
                if depth > 1:
                    for path in _entries(Path(entry.path), depth - 1, folders):
                        yield f'{entry.name}/{path}'
            elif not folders:
                yield entry.name


def count_frames(folder: Path, frame_name: str) -> tuple[int, list[str]]:
    """Count the frames of a clip.

    Args:
        folder: Folder of the clip.
        frame_name: Template of their names, which count from 1.

    Returns:
        Their number (of which the last is the highest), and the names missing among
        them.
    """
    prefix, suffix = frame_name.split('{:05}')
    present = set()
    if folder.is_dir():
        for name in os.listdir(folder):
            number = name[len(prefix) : -len(suffix)]
            if number.isdecimal() and name == frame_name.format(int(number)):
                present.add(int(number))
    last = max(present, default=0)
    missing = [frame_name.format(i) for i in range(1, last + 1) if i not in present]
    return last, missing


def frames_problem(folder: Path, names: Iterable[str]) -> tuple[str, str] | None:
    """Decode the frames of a clip.

    Args:
        folder: Folder of the clip.
        names: Names of the frames.

    Returns:
        None, or the kind of the problem and a sentence without its subject.
    """
    for name in names:
        if (folder / name).stat().st_size == 0:
            return 'empty', f'has the empty frame {name}'
        if cv2.imread(str(folder / name)) is None:
            return 'unreadable', f'has the unreadable frame {name}'
    return None


def video_problem(
    path: Path, decode: bool = False, decoder: str = 'Decord'
) -> tuple[str, str] | None:
    """Look for what is wrong with a video.

    The header is read with OpenCV and held against the size of the file.

    Args:
        path: The video.
        decode: Whether to decode all of it as well, see ``decoding_problems``. Default:
            False.
        decoder: Decoder that training reads it with. Default: ``Decord``.

    Returns:
        None, or the kind of the problem (``missing``, ``empty``, ``truncated``,
        ``unreadable``, ``other_frames``, ``length``, ``rotated``) and a sentence
        without its subject.
    """
    problem = header_problem(path)
    if decode and worth_decoding(problem, decoder):
        (decoded,) = decoding_problems([path], decoder)
        return decoded or without_damage(problem)
    return problem


def without_damage(problem: tuple[str, str] | None) -> tuple[str, str] | None:
    """The problem if the video can be read all the same, else None."""
    return problem if problem and problem[0] == 'rotated' else None


def worth_decoding(problem: tuple[str, str] | None, decoder: str) -> bool:
    """Whether decoding can tell more than the header does."""
    if problem and problem[0] == 'unreadable':
        # The other decoders know more codecs than OpenCV and Decord.
        return decoder not in ('Decord', 'OpenCV')
    return problem == without_damage(problem)


def header_problem(path: Path) -> tuple[str, str] | None:
    """Look for what is wrong with the header of a video, see ``video_problem``."""
    if not os.path.isfile(path):
        return 'missing', 'does not exist'
    size = path.stat().st_size
    if size == 0:
        return 'empty', 'is empty (0 bytes)'
    with path.open('rb') as file:
        announced = announced_size(file)
    if announced > size:
        return 'truncated', f'is truncated ({size} of at least {announced} bytes)'
    capture = cv2.VideoCapture(str(path))
    rotation = capture.get(cv2.CAP_PROP_ORIENTATION_META)
    codec = describe_codec(capture)
    opened = capture.isOpened()
    grabbed = opened and capture.grab()
    capture.release()
    if not opened:
        return 'unreadable', 'cannot be opened, or has no frames'
    if not grabbed:
        return 'unreadable', f'has no frame that OpenCV can decode ({codec})'
    if rotation:
        return 'rotated', f'is to be rotated by {rotation:g} degrees'
    return None
