# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Videos with the same content."""

import os
from collections import defaultdict
from collections.abc import Sequence

from ..media import run_parallel
from ..preparing import sha256
from .clips import Clip


def find_copies(clips: Sequence[Clip], workers: int | None) -> dict[str, str]:
    """Find clips whose files are copies of the file of an earlier clip.

    Only files of the same size are read. Empty and missing files are not copies.

    Args:
        clips: Clips.
        workers: Number of threads; None for the number of processors.

    Returns:
        Path of the earlier clip by the path of the copy.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If two clips with the same content have different labels, or are in
            different splits.
    """
    sizes = defaultdict(list)
    for clip in clips:
        size = os.stat(clip.file).st_size if os.path.isfile(clip.file) else 0
        sizes[size].append(clip)
    alike = [
        clip for size, same in sizes.items() for clip in same if size and len(same) > 1
    ]
    files = [clip.file for clip in alike]
    digests = run_parallel(sha256, files, workers, 'comparing videos of equal size')
    first: dict[str, Clip] = {}
    copies = {}
    # The order of the clips decides which one is kept.
    for digest, clip in zip(digests, alike, strict=True):
        kept = first.setdefault(digest, clip)
        if kept is clip:
            continue
        if kept.label != clip.label:
            raise ValueError(
                f'{kept.path} and {clip.path} have the same content, but the labels '
                f'{kept.label!r} and {clip.label!r}; delete the wrong one'
            )
        if kept.split != clip.split:
            raise ValueError(
                f'{kept.path} in {kept.split} and {clip.path} in {clip.split} have the '
                'same content, so the accuracy would be too high; delete one'
            )
        copies[clip.path] = kept.path
    return copies
