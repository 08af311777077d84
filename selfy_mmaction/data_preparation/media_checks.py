# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Checks of the videos and frames in the lists."""

import os
from collections import defaultdict
from pathlib import Path

import cv2

from .check_report import Report
from .decoding import decoding_problems
from .media import (
    count_frames,
    is_damage,
    progress_bar,
    run_parallel,
    video_problem,
)
from .prepared_lists import ClipList, Sample

PROBLEMS = {
    'missing': 'do not exist',
    'empty': 'are empty',
    'truncated': 'are truncated',
    'unreadable': 'cannot be read: download them again, or, if the codec or size is '
    'not supported, set SELFY_DECODER=PyAV (pip install av) or re-encode them (ffmpeg '
    '-i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4)',
    'other_frames': 'are decoded to wrong frames: re-encode them (ffmpeg -i IN -c:v '
    'libx264 -pix_fmt yuv420p OUT.mp4) or set another SELFY_DECODER',
    'length': 'end before the duration that the container declares: download them '
    'again',
    'rotated': 'have a display matrix that rotates them upright, which many tools '
    'ignore: frames extracted with such tools are sideways',
    'frame_count': 'have a different number of frames than listed',
    'missing_frames': 'lack frames',
}


def check_media(
    found: ClipList,
    num_decoded: int,
    decoder: str,
    workers: int | None,
    report: Report,
) -> None:
    """Report listed files that training could not read.

    Args:
        found: List to check.
        num_decoded: Number of clips to decode, evenly spread.
        decoder: Decoder that training uses.
        workers: Number of threads; None for the number of processors.
        report: Report to add findings to.
    """
    folder = found.folder
    if not folder.is_dir():
        report.error(
            'missing',
            found.name,
            f'its clips should be in {folder}, which does not exist; move or link them '
            'there',
        )
        return
    num_decoded = min(num_decoded, len(found.samples))
    decoded = {i * len(found.samples) // num_decoded for i in range(num_decoded)}

    if found.media.kind == 'videos':
        paths = [folder / sample.path for sample in found.samples]
        problems = video_problems(paths, decoded, decoder, workers, found.name)
    else:
        problems = run_parallel(
            lambda index: _clip_frames_problem(
                folder, found.samples[index], found.media.frame_name, index in decoded
            ),
            range(len(found.samples)),
            workers,
            f'checking {found.name}',
        )
    groups = defaultdict(list)
    for sample, problem in zip(found.samples, problems, strict=True):
        if problem:
            groups[problem[0]].append(f'{sample.path} {problem[1]}')
    for kind, examples in groups.items():
        add = report.note if kind == 'rotated' else report.error
        add(
            kind,
            found.name,
            f'{len(examples)} of {len(found.samples)} clips {PROBLEMS[kind]}',
            examples,
        )
    report.facts['lists'][found.name]['decoded'] = len(decoded)


def video_problems(
    paths: list[Path], decoded: set[int], decoder: str, workers: int | None, name: str
) -> list[tuple[str, str] | None]:
    """Find problems of videos by their headers, and of some by decoding them.

    Args:
        paths: Paths of the videos.
        decoded: Indices of the videos to decode.
        decoder: Decoder that training uses.
        workers: Number of threads; None for the number of processors.
        name: Title of the progress bars.

    Returns:
        Per video None, or the kind of the problem and a sentence without a subject.
    """
    problems = run_parallel(video_problem, paths, workers, f'checking {name}')
    chosen = [
        index
        for index, problem in enumerate(problems)
        if may_decode(problem, decoder) and (index in decoded or is_damage(problem))
    ]
    with progress_bar(len(chosen), f'decoding {name}') as progress:
        results = decoding_problems(
            [paths[index] for index in chosen], decoder, workers, progress
        )
    for index, problem in zip(chosen, results, strict=True):
        if problem or is_damage(problems[index]):
            problems[index] = problem
    return problems


def may_decode(problem: tuple[str, str] | None, decoder: str) -> bool:
    """Return whether a decoder may read a video with this problem of its header."""
    # PyAV supports more codecs than OpenCV, which read the header.
    by_pyav = decoder in ('PyAV', 'PIMS')
    return not is_damage(problem) or (problem[0] == 'unreadable' and by_pyav)


def _clip_frames_problem(
    folder: Path, sample: Sample, frame_name: str, decode: bool
) -> tuple[str, str] | None:
    folder = folder / sample.path
    if not os.path.isdir(folder):
        return 'missing', 'does not exist'
    last, gaps = count_frames(folder, frame_name)
    if not last:
        return 'empty', f'has no frame named {frame_name.format(1)}'
    if gaps:
        return 'missing_frames', f'lacks {gaps[0]}'
    if last != sample.num_frames:
        return 'frame_count', f'has {last} frames, but {sample.num_frames} are listed'
    for name in (frame_name.format(i + 1) for i in range(last) if decode):
        if (folder / name).stat().st_size == 0:
            return 'empty', f'has the empty frame {name}'
        if cv2.imread(str(folder / name)) is None:
            return 'unreadable', f'has the unreadable frame {name}'
    return None
