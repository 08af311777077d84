# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Sessions: resets, drops, statistics, and lines of JSON."""

import json
import threading
import time

import numpy as np
import pytest

from selfy_mmaction.live import reader as reader_module
from selfy_mmaction.live import session as module
from selfy_mmaction.live.latencies import Latencies
from selfy_mmaction.live.reader import FrameReader
from selfy_mmaction.live.recognizers import make_recognizer
from selfy_mmaction.live.session import LiveReset, LiveResult, LiveSession, as_line

STEADY = [index / 10 for index in range(10)]


class Counter:
    """Recognizer whose result is the number of frames since the last reset."""

    model_seconds = 0.001

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.seen = seconds, []
        self.count = 0

    def step(self, image):
        time.sleep(self.seconds)
        self.seen.append(int(image[0, 0, 0]))
        self.count += 1
        return np.array([self.count / 100, 1 - self.count / 100])

    def reset(self):
        self.count = 0


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(reader_module, '_PAUSES', (0.01,))


def session_of(source, recognizer, **options) -> LiveSession:
    options = dict(reconnect=0.1) | options
    return LiveSession(FrameReader(source, 10, **options), recognizer)


def run(session) -> list[LiveResult | LiveReset]:
    return [item for item in session.run() if item is not None]


def test_state_is_reset_after_a_failure(fake):
    source = fake(STEADY, None, [9 + second for second in STEADY])
    session = session_of(source, Counter(), queue_size=100)
    items = run(session)
    kinds = [type(item) for item in items]
    assert kinds == [LiveResult] * 10 + [LiveReset] + [LiveResult] * 10
    counts = [
        round(100 * i.probabilities[0]) for i in items if isinstance(i, LiveResult)
    ]
    assert counts == [*range(1, 11)] * 2
    assert items[10].seconds == 9
    assert 'came back' in items[10].reason
    assert (session.steps, session.results, session.resets) == (20, 20, 1)
    assert (
        '20 frames, 0 dropped, 20 results, 1 resets, 1 reconnects' in session.summary()
    )


def test_reset_before_frames_that_were_dropped(fake):
    """The frame that began a stretch may be dropped; the reset may not."""
    source = fake(STEADY, [9 + second for second in STEADY])
    session = session_of(source, Counter(), queue_size=1)
    session.reader.run()  # all is read before the first frame is taken
    session.reader.start = lambda: None
    items = run(session)
    assert [type(item) for item in items] == [LiveReset, LiveResult]
    assert items[1].frame.number == 19
    assert items[1].dropped == 19


def test_slow_network_drops_and_keeps_the_order(fake):
    source = fake([i / 10 for i in range(50)], fps=10, is_live=False)
    grab = source.grab

    def paced():
        time.sleep(0.005)
        return grab()

    source.grab = paced
    slow = Counter(seconds=0.05)
    session = session_of(source, slow, queue_size=2)
    session.reader.queue._drops = True
    items = run(session)
    assert slow.seen == sorted(slow.seen)
    dropped = session.reader.queue.dropped
    assert dropped > 10
    assert len(slow.seen) + dropped == 50
    # At most what waits in the queue, and the step itself.
    assert max(item.latency for item in items) < 2
    assert [item.dropped for item in items] == sorted(item.dropped for item in items)
    assert 'frames were dropped: the network was too slow for 10' in session.summary()


def test_each_frame_of_a_video_is_used(fake):
    source = fake([i / 10 for i in range(50)], fps=10, is_live=False)
    slow = Counter(seconds=0.005)
    session = session_of(source, slow)
    assert len(run(session)) == 50
    assert slow.seen == [*range(50)]
    assert session.reader.queue.dropped == 0


def test_closing_stops_the_reader(fake):
    source = fake([i / 10 for i in range(1000)], is_live=False, fps=10)
    session = session_of(source, Counter())
    items = session.run()
    next(items)
    items.close()
    assert not session.reader.is_alive()


def test_driver_that_hangs(fake, monkeypatch):
    monkeypatch.setattr(module, '_PATIENCE', 0.2)
    source, answer = fake([0.0]), threading.Event()
    source.grab = lambda: answer.wait(60) and None
    session = session_of(source, Counter())
    with pytest.raises(TimeoutError, match='has not answered for'):
        run(session)
    answer.set()


def test_error_of_the_network_stops_the_reader(fake):
    recognizer = Counter()
    recognizer.step = lambda image: 1 / 0
    session = session_of(fake(STEADY, STEADY), recognizer)
    with pytest.raises(ZeroDivisionError):
        run(session)
    assert not session.reader.is_alive()


def test_scores_of_a_video(fake, predictor, frames):
    """Through reader, queue and session, they are those of single steps."""
    source = fake([i / 12 for i in range(24)], fps=12, is_live=False)
    images = iter(frames[::3])
    source.retrieve = lambda: next(images)
    reader = FrameReader(source, 4)
    items = run(LiveSession(reader, make_recognizer(predictor, 'exact')))
    expected = [*map(make_recognizer(predictor, 'exact').step, frames[::3])][2:]
    found = [item.probabilities for item in items]
    np.testing.assert_array_equal(found, expected)
    assert [item.frame.seconds for item in items] == [0.5, 0.75, 1, 1.25, 1.5, 1.75]


def test_lines(fake, predictor):
    source = fake(STEADY, [9.0])
    recognizer = Counter()
    items = run(session_of(source, recognizer, queue_size=100))
    names = ['läuft "schnell"', '飛ぶ\n']
    lines = [as_line(item, names, 5) for item in items]
    assert all('\n' not in line for line in lines)
    first, *_, reset, last = map(json.loads, lines)
    assert list(first) == [
        *('event', 'time', 'frame', 'top', 'model_ms', 'latency_ms', 'dropped')
    ]
    assert (first['event'], first['time'], first['frame']) == ('result', 0, 0)
    assert first['top'] == [
        dict(label=1, name='飛ぶ\n', probability=0.99),
        dict(label=0, name='läuft "schnell"', probability=0.01),
    ]
    assert first['model_ms'] == 1
    assert (reset['event'], reset['time']) == ('reset', 9)
    assert last['top'][1]['probability'] == 0.01
    assert '飛ぶ' in lines[0]


def test_quantiles():
    rng = np.random.default_rng(0)
    times = rng.lognormal(-3, 1, 20000)
    latencies = Latencies()
    for each in times:
        latencies.add(each)
    for part in (0.01, 0.5, 0.95, 1):
        expected = np.quantile(times, part)
        assert latencies.quantile(part) == pytest.approx(expected, rel=0.02)
    assert latencies.count == 20000


def test_quantiles_of_unusual_times():
    latencies = Latencies()
    assert np.isnan(latencies.quantile(0.5))
    for seconds in (-1.0, 0.0, 1e9):
        latencies.add(seconds)
    assert latencies.quantile(0.5) == pytest.approx(1e-5)
    assert latencies.quantile(1) == pytest.approx(1e4, rel=0.01)
