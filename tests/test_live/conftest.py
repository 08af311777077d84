# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import http.server
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.inference import Predictor
from selfy_mmaction.live.sources import SourceError

NAMES = tuple(f'{name} läuft 飛ぶ "{name}"' for name in 'abcdefghijkl')


class FakeSource:
    """Source that plays a script.

    Each part of the script is what one opening gives: the second of each frame, or None
    if it cannot be opened. Red of a frame is its index in the script.
    """

    name = 'fake'

    def __init__(self, *parts: Sequence[float] | None, fps=None, is_live=True) -> None:
        self.is_live, self.fps = is_live, fps
        self._parts = [*parts]
        self._now: list[float] = []
        self._count = 0
        self.size = 4, 6
        self.opened = 0
        self.open()

    def open(self) -> None:
        self.opened += 1
        part = self._parts.pop(0) if self._parts else None
        if part is None:
            raise SourceError('fake cannot be opened')
        self._now = [*part]

    def grab(self) -> float | None:
        if not self._now:
            return None
        self._count += 1
        return self._now.pop(0)

    def retrieve(self) -> np.ndarray:
        image = np.zeros((*self.size, 3), np.uint8)
        image[..., 0] = self._count - 1
        return image

    def close(self) -> None:
        self._now = []


@pytest.fixture
def fake() -> type[FakeSource]:
    return FakeSource


@pytest.fixture(scope='session')
def predictor() -> Predictor:
    """The network in this package."""
    init_default_scope('mmaction')
    return Predictor(device='cpu', classes=NAMES)


@pytest.fixture(scope='session')
def frames() -> np.ndarray:
    """The sample clip, (24, 68, 68, 3), RGB; 12 frames per second."""
    images = []
    capture = cv2.VideoCapture(str(SAMPLE_CLIP))
    while (read := capture.read())[0]:
        images.append(read[1][..., ::-1])
    return np.stack(images)


@pytest.fixture
def ip_camera(frames) -> Iterator[Callable[[int], str]]:
    """Serve Motion JPEG like an IP camera; each connection gets a number of frames."""
    pictures = [cv2.imencode('.jpg', image[..., ::-1])[1].tobytes() for image in frames]
    numbers = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            kind = 'multipart/x-mixed-replace; boundary=frame'
            self.send_header('Content-Type', kind)
            self.end_headers()
            try:
                for index in range(numbers[0]):
                    picture = pictures[index % len(pictures)]
                    head = f'Content-Type: image/jpeg\r\nContent-Length: {len(picture)}'
                    self.wfile.write(b'--frame\r\n' + head.encode() + b'\r\n\r\n')
                    self.wfile.write(picture + b'\r\n')
                    time.sleep(0.02)
            except OSError:
                pass  # the client has gone

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def serve(number: int) -> str:
        numbers.append(number)
        return f'http://127.0.0.1:{server.server_port}/cam'

    yield serve
    server.shutdown()
    server.server_close()
