# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The thread that reads: breaks, reconnects, speed, and its end."""

import math
import threading
import time

import numpy as np
import pytest

from selfy_mmaction.live import reader as module
from selfy_mmaction.live.frame_queue import Frame
from selfy_mmaction.live.reader import FrameReader

STEADY = [index / 10 for index in range(10)]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(module, '_PAUSES', (0.01, 0.02))


def read(source, rate=10, **options) -> tuple[list[Frame], FrameReader]:
    options = dict(queue_size=1000, reconnect=0.2) | options
    reader = FrameReader(source, rate, **options)
    reader.start()
    frames = []
    while not reader.queue.has_ended:
        frame = reader.queue.get(5)
        if frame is not None:
            frames.append(frame)
    reader.join(5)
    assert not reader.is_alive()
    reader.check()
    return frames, reader


def test_frames_of_a_video(fake):
    times = 7 + np.arange(250) / 25
    frames, reader = read(fake([*times], fps=25, is_live=False), rate=5)
    assert [frame.image[0, 0, 0] for frame in frames] == [*range(0, 250, 5)]
    np.testing.assert_allclose([f.seconds for f in frames], np.arange(50) / 5)
    assert [frame.number for frame in frames] == [*range(50)]
    assert {frame.stretch for frame in frames} == {0}
    assert not reader.is_lost
    assert reader.reconnects == 0


def test_source_that_fails_and_comes_back(fake):
    source = fake(STEADY, None, None, [20 + second for second in STEADY])
    frames, reader = read(source)
    assert len(frames) == 20
    assert [frame.stretch for frame in frames] == [0] * 10 + [1] * 10
    assert 'failed and came back after' in frames[10].reason
    assert [frame.number for frame in frames] == [*range(20)]
    assert reader.reconnects == 1
    assert reader.is_lost  # in the end, it did not come back


def test_source_that_opens_but_sends_nothing(fake):
    """It counts as failed all the time: its pauses grow, and its time runs out."""
    source = fake(STEADY, *[[]] * 1000)
    begin = time.monotonic()
    frames, reader = read(source)
    assert 0.15 < time.monotonic() - begin < 5
    assert len(frames) == 10
    assert source.opened < 25
    assert reader.is_lost
    assert reader.reconnects == 0


def test_never_opened_again(fake):
    source = fake(STEADY, STEADY)
    frames, reader = read(source, reconnect=0)
    assert len(frames) == 10
    assert not reader.is_lost  # the user expects the end
    assert source.opened == 1


@pytest.mark.parametrize(
    ('times', 'max_gap', 'reason'),
    [
        ([0, 0.1, 0.2, 3, 3.1], None, 'no frame for 2.80 s'),
        ([0, 0.1, 0.2, 3, 3.1], 4, None),
        ([0, 0.1, 0.2, 0.6, 0.7], None, None),  # no more than four frames
        ([0, 0.1, 0.2, 0.6, 0.7], 0.3, 'no frame for 0.40 s'),
        ([5, 5.1, 5.2, 0, 0.1], None, 'went back by 5.20 s'),
    ],
)
def test_breaks(fake, times, max_gap, reason):
    frames, _ = read(fake(times, fps=10, is_live=False), max_gap=max_gap)
    assert len(frames) == 5  # each break begins with its first frame
    assert [frame.stretch for frame in frames] == [0] * 3 + [1 if reason else 0] * 2
    assert (reason or '') in frames[-1].reason


def test_slow_source_has_no_breaks(fake):
    times = [float(second) for second in range(10)]
    frames, _ = read(fake(times, fps=1, is_live=False), rate=30)
    assert len(frames) == 10
    assert frames[-1].stretch == 0


def test_size_that_changes(fake):
    source = fake(STEADY, is_live=False, fps=10)
    images = iter([np.zeros((4, 6, 3), np.uint8)] * 5 + [np.zeros((6, 4, 3))] * 5)
    source.retrieve = lambda: next(images)
    frames, _ = read(source)
    assert [frame.stretch for frame in frames] == [0] * 5 + [1] * 5
    assert 'size of the frames changed' in frames[-1].reason


def test_damaged_frames_are_left_out(fake):
    source = fake(STEADY, is_live=False, fps=10)
    retrieve, images = source.retrieve, iter(range(10))
    source.retrieve = lambda: None if next(images) % 2 else retrieve()
    frames, _ = read(source)
    assert [frame.image[0, 0, 0] for frame in frames] == [0, 2, 4, 6, 8]


def test_video_at_its_own_speed(fake):
    begin = time.monotonic()
    source = fake(STEADY, fps=10, is_live=False)
    frames, reader = read(source, realtime=True, queue_size=2)
    assert time.monotonic() - begin > 0.85
    # The clock runs between frame and arrival.
    delays = np.diff([frame.arrived for frame in frames])
    assert delays.max() < 2
    assert len(frames) + reader.queue.dropped == 10


def test_frames_that_nobody_takes_are_dropped(fake):
    reader = FrameReader(fake([i / 10 for i in range(100)]), 10, reconnect=0)
    reader.start()
    reader.join(5)
    assert len(reader.queue) == 2
    assert reader.queue.dropped == 98
    assert [reader.queue.get(0).number for _ in range(2)] == [98, 99]


def test_stop_while_a_video_waits(fake):
    reader = FrameReader(fake(STEADY, is_live=False), 10)
    reader.start()
    assert reader.queue.get(5).number == 0
    assert reader.stop()


def test_stop_during_a_pause(fake, monkeypatch):
    monkeypatch.setattr(module, '_PAUSES', (60.0,))
    reader = FrameReader(fake([0.0]), 10)
    reader.start()
    while not reader.is_waiting:
        time.sleep(0.01)
    begin = time.monotonic()
    assert reader.stop(5)
    assert time.monotonic() - begin < 4
    assert not reader.is_lost


def test_stop_while_the_driver_blocks(fake):
    source, answer = fake([0.0]), threading.Event()
    source.grab = lambda: answer.wait(60) and None
    reader = FrameReader(source, 10)
    reader.start()
    begin = time.monotonic()
    assert not reader.stop(0.1)
    assert time.monotonic() - begin < 5
    answer.set()
    reader.join(5)
    assert not reader.is_alive()


def test_error_of_the_driver(fake):
    source = fake([0.0])

    def fail():
        raise RuntimeError('the driver failed')

    source.grab = fail
    with pytest.raises(RuntimeError, match='the driver failed'):
        read(source)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(queue_size=0), 'queue_size must be an integer from 1'),
        (dict(reconnect=-1), 'reconnect is -1'),
        (dict(reconnect=math.nan), 'reconnect is nan'),
        (dict(max_gap=0), 'max_gap is 0'),
    ],
)
def test_wrong_arguments(fake, options, message):
    with pytest.raises(ValueError, match=message):
        FrameReader(fake([0.0]), 10, **options)
