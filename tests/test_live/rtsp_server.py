# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The smallest RTSP server that a client accepts: H.264 over TCP (RFC 2326, 6184)."""

import socketserver
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
import numpy as np

SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=camera
t=0 0
m=video 0 RTP/AVP 96
a=rtpmap:96 H264/90000
a=control:track
"""


def encode(frames: Sequence[np.ndarray], fps: int) -> list[list[bytes]]:
    """Encode RGB frames, each of which can be decoded by itself, as NAL units."""
    codec = av.CodecContext.create('libx264', 'w')
    codec.height, codec.width = frames[0].shape[:2]
    codec.pix_fmt, codec.time_base = 'yuv420p', Fraction(1, fps)
    codec.options = dict(tune='zerolatency', preset='ultrafast', g='1', slices='1')
    packets = []
    for frame in frames:
        packets += codec.encode(av.VideoFrame.from_ndarray(frame, format='rgb24'))
    packets += codec.encode(None)
    return [_split(bytes(packet)) for packet in packets]


def _split(stream: bytes) -> list[bytes]:
    units = stream.replace(b'\0\0\0\1', b'\0\0\1').split(b'\0\0\1')
    return [unit for unit in units if unit]


class RTSPServer(socketserver.ThreadingTCPServer):
    """Server that ends each connection after a number of frames.

    Args:
        frames: RGB frames, shown again and again.
        fps: Frames per second.
        lengths: Number of frames of each connection; later ones are refused.
    """

    daemon_threads = allow_reuse_address = True

    def __init__(
        self, frames: Sequence[np.ndarray], fps: int, lengths: Sequence[int]
    ) -> None:
        super().__init__(('127.0.0.1', 0), _Connection)
        self.pictures, self.fps = encode(frames, fps), fps
        self.lengths = [*lengths]
        self.url = f'rtsp://127.0.0.1:{self.server_address[1]}/camera'
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Connection(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        if not self.server.lengths:
            return
        length = self.server.lengths.pop(0)
        try:
            for method, number in self._requests():
                self._answer(method, number)
                if method == 'PLAY':
                    self._play(length)
                    return
        except OSError:
            pass  # the client has gone

    def _requests(self) -> Iterator[tuple[str, str]]:
        lines: list[str] = []
        for line in self.rfile:
            lines.append(line.decode().strip())
            if not lines[-1]:
                headers = dict(each.split(': ', 1) for each in lines[1:-1])
                yield lines[0].split()[0], headers['CSeq']
                lines = []

    def _answer(self, method: str, number: str) -> None:
        head = {
            'OPTIONS': 'Public: DESCRIBE, SETUP, PLAY',
            'DESCRIBE': f'Content-Type: application/sdp\r\nContent-Length: {len(SDP)}',
            'SETUP': 'Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1',
        }.get(method, 'Session: 1')
        body = SDP if method == 'DESCRIBE' else ''
        text = f'RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{head}\r\n\r\n{body}'
        self.wfile.write(text.encode())

    def _play(self, length: int) -> None:
        sequence = 0
        for index in range(length):
            units = self.server.pictures[index % len(self.server.pictures)]
            stamp = index * 90000 // self.server.fps
            for unit in units:
                marker = 0x80 if unit is units[-1] else 0
                head = struct.pack('>BBHII', 0x80, 96 | marker, sequence, stamp, 1)
                size = len(head) + len(unit)
                self.wfile.write(struct.pack('>cBH', b'$', 0, size) + head + unit)
                sequence += 1
            time.sleep(1 / self.server.fps)
