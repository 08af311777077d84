# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Search of videos and folders of frames, and checks of video headers."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
from mmengine.utils import ProgressBar

from selfy_mmaction.datasets.video_files import declared_size

from .decoding import describe_codec
from .official_files import UNWRITABLE

VIDEO_SUFFIXES = ('.avi', '.flv', '.mkv', '.mov', '.mp4', '.webm')


def run_parallel(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    workers: int | None,
    title: str,
) -> list[Any]:
    """Apply a function to each item in threads, with a progress bar.

    Threads suffice because OpenCV, decord, ffmpeg and the file system release the GIL.

    Args:
        function: Function of one item.
        items: Items.
        workers: Number of threads; None for the number of processors.
        title: Title of the progress bar.

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
    """Show a progress bar on stderr.

    Yields:
        Function to call after each item.
    """
    if not total:
        yield lambda: None
        return
    print(title, file=sys.stderr)
    yield ProgressBar(total, file=sys.stderr).update
    print(file=sys.stderr)


def index_media(folder: Path, kind: str, depth: int = 1) -> dict[str, str]:
    """Map the name of each video (without extension) or folder of frames to its path.

    Args:
        folder: Folder to search.
        kind: ``'videos'`` or ``'rawframes'``.
        depth: 2 to search subfolders (one per class), too. Default: 1.

    Returns:
        Paths relative to ``folder`` by name.

    Raises:
        ValueError: If two have the same name, or a path contains a space or another
            character that mmaction2's lists do not support.
    """
    found: dict[str, str] = {}
    for path in _entries(folder, depth, folders=kind == 'rawframes'):
        name = os.path.basename(path)
        if kind == 'videos':
            name, suffix = os.path.splitext(name)
            # Interrupted cuts leave partial files.
            if suffix.lower() not in VIDEO_SUFFIXES or name.endswith('.partial'):
                continue
        if len(path.split()) != 1:
            raise ValueError(
                f'{folder}/{path} contains a space, which separates the columns of '
                "the lists; rename it (mmaction2's rename_classnames.sh uses _)"
            )
        if UNWRITABLE.search(path):
            raise ValueError(
                f'{folder} has {path!r}, whose name has a control character or is not '
                'in UTF-8, which the lists do not support; rename it'
            )
        if name in found:
            raise ValueError(
                f'{folder} has both {found[name]} and {path}; delete the wrong one'
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
    """Return the highest frame number of a clip and the names missing before it."""
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


def is_damage(problem: tuple[str, str] | None) -> bool:
    """Return whether a video with this problem cannot be read."""
    return problem is not None and problem[0] != 'rotated'


def video_problem(path: Path) -> tuple[str, str] | None:
    """Find a problem of a video by its header and size.

    Returns:
        None, or the kind of the problem (``'missing'``, ``'empty'``, ``'truncated'``,
        ``'unreadable'``, ``'rotated'``) and a sentence without a subject.
    """
    if not os.path.isfile(path):
        return 'missing', 'does not exist'
    size = path.stat().st_size
    if size == 0:
        return 'empty', 'is empty (0 bytes)'
    with path.open('rb') as file:
        declared = declared_size(file)
    if declared > size:
        return 'truncated', f'is truncated ({size} of at least {declared} bytes)'
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
        return 'rotated', f'must be rotated by {rotation:g} degrees'
    return None
