# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Error messages for videos that decoders cannot read, or read wrongly."""

import io
from typing import BinaryIO

from selfy_mmaction.datasets.video_files import (
    declared_size,
    describe,
    find_codec,
    find_container,
)

USE_PYAV = 'read it with PyAV (pip install av; SELFY_DECODER=PyAV for our configs)'
REMUX = 'copy it into an MP4 (ffmpeg -i IN -c copy OUT.mp4)'
RE_ENCODE = 're-encode it (ffmpeg -i IN -c:v libx264 -crf 18 OUT.mp4)'

NO_VIDEOS = ('HTML', 'Git LFS pointer')
WIDELY_KNOWN = ('FFV1', 'H.264', 'HEVC', 'MJPEG', 'MPEG-4', 'VP8', 'VP9')


def reject_truncated(file: BinaryIO) -> None:
    """Raise a ``ValueError`` for a video with fewer bytes than it declares."""
    size = file.seek(0, io.SEEK_END)
    if not size:
        raise ValueError('it is empty (0 bytes)')
    declared = declared_size(file)
    if declared > size:
        raise ValueError(f'it is truncated: {size} of at least {declared} bytes')


def reject_transport_stream(file: BinaryIO, decoder: str) -> None:
    """Raise a ``ValueError`` for an MPEG-TS."""
    if find_container(file) == 'MPEG-TS':
        raise ValueError(
            f'it is an MPEG-TS, in which {decoder} seeks to wrong frames; {REMUX}, or '
            f'{USE_PYAV}'
        )


def explain(file: BinaryIO, decoder: str) -> str:
    """Describe a video that cannot be decoded, and a fix unless it is damaged."""
    what = describe(file)
    if find_container(file) in NO_VIDEOS:
        return f'it is not a video, but {what}'
    if find_codec(file) in WIDELY_KNOWN:
        return f'it is {what}; if it is not damaged, {USE_PYAV}, or {RE_ENCODE}'
    return f'it is {what}, which {decoder} may not support; {USE_PYAV}, or {RE_ENCODE}'
