# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Videos that decoders would read wrongly, or cannot: what is wrong and what helps."""

import io
from typing import BinaryIO

from selfy_mmaction.datasets.video_files import (
    announced_size,
    describe,
    find_codec,
    find_container,
)

USE_PYAV = 'read it with PyAV (pip install av; SELFY_DECODER=PyAV for our configs)'
REMUX = 'copy it into an MP4 (ffmpeg -i IN -c copy OUT.mp4)'
RE_ENCODE = 're-encode it (ffmpeg -i IN -c:v libx264 -crf 18 OUT.mp4)'

NO_VIDEOS = ('HTML', 'Git LFS pointer')
WIDELY_KNOWN = ('FFV1', 'H.264', 'HEVC', 'MJPEG', 'MPEG-4', 'VP8', 'VP9')


def refuse_truncated(file: BinaryIO) -> None:
    """Raise a ``ValueError`` for a video with fewer bytes than it announces."""
    size = file.seek(0, io.SEEK_END)
    if not size:
        raise ValueError('it is empty (0 bytes)')
    announced = announced_size(file)
    if announced > size:
        raise ValueError(f'it is truncated: {size} of at least {announced} bytes')


def refuse_transport_stream(file: BinaryIO, decoder: str) -> None:
    """Raise a ``ValueError`` for an MPEG-TS."""
    if find_container(file) == 'MPEG-TS':
        raise ValueError(
            f'it is an MPEG-TS, in which {decoder} finds other frames than asked for; '
            f'{REMUX}, or {USE_PYAV}'
        )


def explain(file: BinaryIO, decoder: str) -> str:
    """What a video is that cannot be decoded, and what helps if it is not damaged."""
    what = describe(file)
    if find_container(file) in NO_VIDEOS:
        return f'it is no video, but {what}'
    if find_codec(file) in WIDELY_KNOWN:
        return f'it is {what}; if it is not damaged, {USE_PYAV}, or {RE_ENCODE}'
    return f'it is {what}, which {decoder} may not know: {USE_PYAV}, or {RE_ENCODE}'
