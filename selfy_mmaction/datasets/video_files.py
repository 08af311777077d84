# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Metadata of video files, read without decoding.

Each function takes a seekable binary file: ``open(path, 'rb')`` or ``BytesIO``.
"""

import re
import struct
from collections.abc import Iterator
from io import SEEK_END
from typing import BinaryIO

import numpy as np

MOST_SAMPLES = 10**7  # more than days of video
HEAD = 65536  # bytes that include the track headers of a WebM, MKV or AVI
EBML, SEGMENT = b'\x1a\x45\xdf\xa3', b'\x18\x53\x80\x67'
MP4_BOXES = (b'ftyp', b'moov', b'mdat', b'moof', b'free', b'skip', b'wide', b'sidx')

MAGIC = (  # position, bytes, name
    (0, EBML, 'Matroska'),  # and WebM
    (4, b'ftyp', 'MP4'),  # and MOV
    (0, b'FLV', 'FLV'),
    (0, b'GIF8', 'GIF'),
    (0, b'OggS', 'Ogg'),
    (0, b'\x89PNG', 'PNG'),
    (0, b'\xff\xd8\xff', 'JPEG'),
    (0, b'\x30\x26\xb2\x75', 'ASF'),  # WMV
    (0, b'\0\0\1\xba', 'MPEG-PS'),
    (0, b'version https://git-lfs', 'Git LFS pointer'),
)

CODECS = {  # keyed by the lowercase codes in containers
    code: name
    for name, codes in {
        'AV1': 'av01 v_av1',
        'FFV1': 'v_ffv1',
        'H.264': 'avc1 avc3 h264 x264 v_mpeg4/iso/avc',
        'HEVC': 'hev1 hvc1 v_mpegh/iso/hevc',
        'MJPEG': 'mjpg v_mjpeg',
        'MPEG-4': 'mp4v fmp4 xvid',
        'VP8': 'vp08 v_vp8',
        'VP9': 'vp09 v_vp9',
        'VVC': 'vvc1',
    }.items()
    for code in codes.split()
}
NEVER_REORDERED = ('AV1', 'FFV1', 'MJPEG', 'VP8', 'VP9')


def find_container(file: BinaryIO) -> str:
    """Find the container format of a video from its first bytes.

    Returns:
        A name such as ``MP4`` (also for MOV) or ``Matroska`` (also for WebM), or an
        empty string if unknown.
    """
    head = _read(file, 0, 512)
    if head[:4] == b'RIFF':
        return {b'AVI ': 'AVI', b'WEBP': 'WebP'}.get(head[8:12], 'RIFF')
    for start, magic, name in MAGIC:
        if head[start : start + len(magic)] == magic:
            return name
    if head[4:8] in MP4_BOXES:  # old MOV files have no ftyp
        return 'MP4'
    # Packets of 188 bytes, or of 192 bytes with a leading timestamp.
    for start, size in ((0, 188), (4, 192)):
        if head[start::size][:2] == b'\x47\x47':
            return 'MPEG-TS'
    if re.match(rb'\s*<(!doctype|html|\?xml)', head, re.IGNORECASE):
        return 'HTML'
    return ''


def find_codec(file: BinaryIO) -> str:
    """Find the codec of a video from its container.

    Returns:
        A name such as ``H.264``, the container's code if it is not in ``CODECS``, or
        an empty string if unknown.
    """
    container = find_container(file)
    code = b''
    if container == 'MP4':
        code = _sample_table(file).get(b'stsd', b'')[12:16]
    elif container == 'Matroska':
        found = re.search(rb'V_[A-Z0-9_/]+', _read(file, 0, HEAD))
        code = found[0] if found else b''
    elif container == 'AVI':
        found = re.search(rb'vids(.{4})', _read(file, 0, HEAD), re.DOTALL)
        code = found[1] if found else b''
    name = code.decode('ascii', 'replace').strip('\0 ')
    return CODECS.get(name.lower(), name)


def describe(file: BinaryIO) -> str:
    """Name codec and container of a video, such as ``AV1 in MP4``."""
    container = find_container(file) or 'an unknown container'
    codec = find_codec(file)
    return f'{codec} in {container}' if codec else container


def declared_size(file: BinaryIO) -> int:
    """Return the declared size of an AVI, MP4, MOV, WebM or MKV in bytes, or 0."""
    size = file.seek(0, SEEK_END)
    head = _read(file, 0, 64)
    if head[:4] == b'RIFF':
        return int.from_bytes(head[4:8], 'little') + 8
    if head[:4] == EBML:
        return _declared_by_ebml(head) if len(head) == 64 else 0
    position = 0
    while position < size:
        box = _read(file, position, 16)
        if box[4:8] not in MP4_BOXES:
            return 0
        length = int.from_bytes(box[:4], 'big')
        if length == 1:
            length = int.from_bytes(box[8:16], 'big')
        if length < 8:  # 0: up to the end of the file
            return 0
        position += length
    return position


def _declared_by_ebml(head: bytes) -> int:
    # A length has one byte more than its first byte has leading zero bits. If all its
    # value bits are 1, it is unknown.
    def read_length(position: int) -> tuple[int, int, bool]:
        width = 9 - head[position].bit_length()
        value = int.from_bytes(head[position : position + width], 'big')
        unknown = (2 << 7 * width) - 1
        return value - (1 << 7 * width), position + width, value == unknown

    length, position, _ = read_length(len(EBML))
    position += length
    if head[position : position + 4] != SEGMENT or position + 12 > len(head):
        return 0
    length, position, is_unknown = read_length(position + len(SEGMENT))
    return 0 if is_unknown else position + length


def declared_frames(file: BinaryIO) -> int:
    """Return the number of frames that an MP4 declares, or 0 if unknown."""
    durations = _runs(_sample_table(file), b'stts')
    return 0 if durations is None else int(durations[:, 0].sum())


def is_rotated_matroska(file: BinaryIO) -> bool:
    """Return whether a WebM or MKV is tagged as rotated (``ProjectionPoseRoll``)."""
    if find_container(file) != 'Matroska':
        return False
    found = re.search(
        rb'\x76\x75(?:\x84(.{4})|\x88(.{8}))', _read(file, 0, HEAD), re.DOTALL
    )
    if not found:
        return False
    (roll,) = struct.unpack(*(('>f', found[1]) if found[1] else ('>d', found[2])))
    return abs(roll) in (90, 180, 270)


def has_ordered_keyframes(file: BinaryIO) -> bool:
    """Return whether keyframes are known to have the same index stored and displayed.

    With an "open GOP" (the default of x265 and of MPEG-2 encoders), frames displayed
    before a keyframe are stored after it. The number of frames stored before a keyframe
    then does not give its index.
    """
    container = find_container(file)
    if container != 'MP4':
        return container == 'AVI' or find_codec(file) in NEVER_REORDERED
    table = _sample_table(file)
    durations, offsets = _runs(table, b'stts'), _runs(table, b'ctts')
    if durations is None or not len(durations):  # fragmented MP4
        return False
    if offsets is None or b'stss' not in table:  # no B-frames, or only keyframes
        return True
    times = np.repeat(durations[:, 1], durations[:, 0]).cumsum()
    offsets = np.repeat(offsets[:, 1], offsets[:, 0])
    keys = table[b'stss'][8:]
    keys = np.frombuffer(keys[: len(keys) // 4 * 4], '>u4').astype(np.int64) - 1
    if len(offsets) != len(times) or not np.isin(keys, np.arange(len(times))).all():
        return False
    places = np.argsort(np.argsort(times + offsets, kind='stable'))
    return bool((places[keys] == keys).all())


def _runs(table: dict[bytes, bytes], kind: bytes) -> np.ndarray | None:
    """Return the (count, value) pairs of a table, (runs, 2); None if unknown."""
    if kind not in table:
        return None
    content = table[kind][8:]
    runs = np.frombuffer(content[: len(content) // 8 * 8], '>i4').reshape(-1, 2)
    is_damaged = (runs[:, 0] < 0).any() or runs[:, 0].sum() > MOST_SAMPLES
    return None if is_damaged else runs


def _sample_table(file: BinaryIO) -> dict[bytes, bytes]:
    """Read the bodies of the boxes in ``stbl`` of an MP4's first video track."""

    def boxes(start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        while start + 8 <= end:
            head = _read(file, start, 16)
            length, body = int.from_bytes(head[:4], 'big'), start + 8
            if length == 1:
                length, body = int.from_bytes(head[8:16], 'big'), start + 16
            length = length or end - start
            if length < body - start:
                return
            yield head[4:8], body, min(start + length, end)
            start += length

    def inside(path: tuple[bytes, ...], start: int, end: int) -> Iterator[tuple]:
        for kind, body, stop in boxes(start, end):
            if kind == path[0]:
                if len(path) == 1:
                    yield body, stop
                else:
                    yield from inside(path[1:], body, stop)

    for media in inside((b'moov', b'trak', b'mdia'), 0, file.seek(0, SEEK_END)):
        handler = next(inside((b'hdlr',), *media), None)
        table = next(inside((b'minf', b'stbl'), *media), None)
        if handler and table and _read(file, handler[0] + 8, 4) == b'vide':
            return {
                kind: _read(file, body, stop - body)
                for kind, body, stop in boxes(*table)
            }
    return {}


def _read(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(size)
