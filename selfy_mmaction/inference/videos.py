# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Search of videos, and the windows of a long video."""

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from selfy_mmaction.data_preparation.media import VIDEO_SUFFIXES
from selfy_mmaction.datasets.video_files import find_container

_SUFFIXES = {*VIDEO_SUFFIXES, '.3gp', '.m4v', '.mpeg', '.mpg', '.ts', '.wmv'}
_IMAGES = ('JPEG', 'PNG', 'WebP')


def find_videos(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> list[str]:
    """List videos, and the videos in folders and their subfolders.

    A file that is named is used whatever its extension is; in a folder, files with the
    extension of a video (in any case) are used and hidden files are not.

    Args:
        paths: One or more videos or folders.

    Returns:
        Paths of the videos, each once; those of a folder are sorted.

    Raises:
        FileNotFoundError: If a path does not exist, or there is no video in a folder.
        ValueError: If there is no path, or a file is an image or has no extension.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    videos = []
    for path in [os.fspath(each) for each in paths]:
        if os.path.isdir(path):
            videos += _find_in_folder(path)
        elif os.path.exists(path):
            _check_file(path)
            videos.append(path)
        else:
            raise FileNotFoundError(
                f'video {path!r} does not exist; expected a video or a folder of videos'
            )
    if not videos:
        raise ValueError('no video is given; expected a video or a folder of videos')
    by_file: dict[str, str] = {}
    for video in videos:
        by_file.setdefault(os.path.realpath(video), video)
    return [*by_file.values()]


def _find_in_folder(folder: str) -> list[str]:
    found, others = [], 0
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        for name in sorted(files):
            if name.startswith('.'):
                continue
            if Path(name).suffix.lower() in _SUFFIXES:
                found.append(os.path.join(parent, name))
            else:
                others += 1
    if not found:
        raise FileNotFoundError(
            f'folder {folder!r} has no videos and {others} other files; expected files '
            f'that end in {", ".join(sorted(_SUFFIXES))}, in any case'
        )
    return found


def _check_file(path: str) -> None:
    if '.' not in os.path.basename(path):
        raise ValueError(
            f"{path} has no extension: mmaction2's decoders would read {path}.mp4; "
            'rename it'
        )
    with open(path, 'rb') as file:
        container = find_container(file)
    if container in _IMAGES:
        raise ValueError(
            f'{path} is an image ({container}), expected a video: the network '
            'recognizes actions in several frames'
        )


class Window(NamedTuple):
    """A part of a video.

    Attributes:
        first: Index of the first frame.
        length: Number of frames.
        start: Second at which it starts.
        end: Second at which it ends; None if the frame rate is unknown.
    """

    first: int
    length: int
    start: float
    end: float | None


def check_seconds(window: float | None, stride: float | None) -> None:
    """Check the length and the distance of windows.

    Raises:
        ValueError: If one is not a positive number, or only ``stride`` is given.
    """
    for name, seconds in (('window', window), ('stride', stride)):
        if seconds is not None and not (
            isinstance(seconds, (int, float)) and 0 < seconds < math.inf
        ):
            raise ValueError(f'{name} is {seconds!r}, expected seconds above 0')
    if stride is not None and window is None:
        raise ValueError(f'stride {stride:g} needs a window: give its seconds, too')


def cut_windows(
    times: np.ndarray | None,
    total: int,
    window: float | None = None,
    stride: float | None = None,
) -> list[Window]:
    """Cut a video into windows of equal length.

    Windows start every ``stride`` seconds. If frames remain after the last one that
    fits, another window ends with the video. A video that is not longer than a window
    is one window.

    Args:
        times: Second of each frame and of the end, (total + 1,); None if unknown.
        total: Number of frames.
        window: Seconds per window. Default: None, the whole video.
        stride: Seconds between the starts of windows. Default: None, ``window``.

    Raises:
        ValueError: If the times are unknown but ``window`` is given, or a window would
            be shorter than a frame.
    """
    if times is None:
        if window is not None:
            raise ValueError(
                'its frame rate is unknown, so it cannot be cut into windows; predict '
                'it as a whole, or re-encode it'
            )
        return [Window(0, total, 0.0, None)]
    duration = float(times[-1])
    # Rounding in containers must not add a window of no length.
    slack = duration / total / 2
    if window is None or duration <= window + slack:
        return [Window(0, total, 0.0, duration)]
    if window < 2 * slack:
        raise ValueError(
            f'a window of {window:g} s is shorter than a frame of {2 * slack:.3g} s'
        )
    count = 1 + math.floor((duration - window + slack) / (stride or window))
    starts = [index * (stride or window) for index in range(count)]
    if starts[-1] + window < duration - slack:
        starts.append(duration - window)
    windows = []
    for start in starts:
        # The frames nearest to both ends; the later of two that are equally near, in
        # spite of rounding.
        ends = np.array([start, start + window]) - slack * 0.999
        first, last = np.searchsorted(times[:-1], ends)
        first = min(int(first), total - 1)
        last = max(int(last), first + 1)
        windows.append(
            Window(first, last - first, float(times[first]), float(times[last]))
        )
    return windows


def select_window(
    times: np.ndarray | None,
    total: int,
    start: float | None = None,
    seconds: float | None = None,
) -> Window:
    """Select one part of a video.

    Args:
        times: Second of each frame and of the end, (total + 1,); None if unknown.
        total: Number of frames.
        start: Second at which the part starts. Default: None, that of the video.
        seconds: Length of the part. Default: None, to the end of the video.

    Raises:
        ValueError: If the part is not in the video, or the times are unknown but
            needed.
    """
    if times is None:
        if start is not None or seconds is not None:
            raise ValueError(
                'its frame rate is unknown, so a part cannot be selected in seconds; '
                'leave out start and seconds, or re-encode it'
            )
        return Window(0, total, 0.0, None)
    duration = float(times[-1])
    if start is not None and not 0 <= start < duration:
        raise ValueError(
            f'start is {start:g}, expected 0 to {duration:g}, the seconds of the video'
        )
    if seconds is not None and not 0 < seconds < math.inf:
        raise ValueError(f'seconds is {seconds!r}, expected a number above 0')
    slack = duration / total / 2 * 0.999
    first = int(np.searchsorted(times[:-1], (start or 0) - slack))
    first = min(first, total - 1)
    last = total
    if seconds is not None:
        last = int(np.searchsorted(times[:-1], (start or 0) + seconds - slack))
        last = min(max(last, first + 1), total)
    return Window(first, last - first, float(times[first]), float(times[last]))


def frame_times(info: dict[str, Any]) -> np.ndarray | None:
    """Find when each frame of an opened video is displayed.

    Args:
        info: Results of mmaction2's steps that open a video.

    Returns:
        Second of each frame, from 0, and of the end of the video, (total + 1,). With
        decord, they are the timestamps of the video; with other decoders, frames are
        assumed to be equally far apart. None if the frame rate is unknown.
    """
    total, reader = info['total_frames'], info['video_reader']
    fps = info.get('avg_fps') or getattr(reader, 'fps', None)
    streams = getattr(reader, 'streams', None)
    if streams is not None:  # PyAV
        fps = streams.video[0].average_rate
    if not fps or not 0 < fps < math.inf:
        return None
    times = np.arange(total + 1) / float(fps)
    if hasattr(reader, 'get_frame_timestamp'):
        stamps = reader.get_frame_timestamp(range(total)).astype(float)
        stamps = np.append(stamps[:, 0], stamps[-1, 1]) - stamps[0, 0]
        # Some containers have none: decord then returns placeholders.
        if np.abs(stamps).max() < 1e9 and (np.diff(stamps) > 0).all():
            times = stamps
    return times
