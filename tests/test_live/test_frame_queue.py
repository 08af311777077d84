# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The queue is bounded, in time order, and never blocks for good."""

import threading
import time

import numpy as np
import pytest

from selfy_mmaction.live.frame_queue import Frame, FrameQueue

IMAGE = np.zeros((1, 1, 3), np.uint8)


def frame(number: int) -> Frame:
    return Frame(number, float(number), 0.0, IMAGE)


@pytest.mark.parametrize('size', [1, 2, 5])
def test_oldest_frames_are_dropped(size):
    queue = FrameQueue(size, drops=True)
    for number in range(20):
        queue.put(frame(number))
        assert len(queue) <= size
    assert queue.dropped == 20 - size
    taken = [queue.get(0).number for _ in range(size)]
    assert taken == [*range(20 - size, 20)]
    assert queue.get(0) is None


def test_slow_consumer_gets_the_newest_in_order():
    queue = FrameQueue(2, drops=True)
    taken = []
    for number in range(30):
        queue.put(frame(number))
        if number % 5 == 4:
            taken.append(queue.get(0).number)
    assert taken == sorted(taken) == [3, 8, 13, 18, 23, 28]
    assert queue.dropped + len(taken) + len(queue) == 30


def test_without_dropping_the_producer_waits():
    queue = FrameQueue(2, drops=False)

    def produce():
        for number in range(10):
            queue.put(frame(number))
        queue.close()

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    time.sleep(0.1)
    assert len(queue) == 2
    taken = []
    while not queue.has_ended:
        taken.append(queue.get(1).number)
        assert len(queue) <= 2
    assert taken == [*range(10)]
    assert queue.dropped == 0


def test_closing_frees_both_sides():
    full, empty = FrameQueue(1, drops=False), FrameQueue(1, drops=False)
    full.put(frame(0))
    threads = [
        threading.Thread(target=full.put, args=[frame(1)], daemon=True),
        threading.Thread(target=empty.get, args=[60], daemon=True),
    ]
    for thread in threads:
        thread.start()
    full.close(discard=True)
    empty.close()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert full.has_ended
    assert full.get(0) is None


def test_frames_before_the_end_are_kept():
    queue = FrameQueue(2, drops=True)
    queue.put(frame(0))
    queue.close()
    assert not queue.has_ended
    assert queue.get(0).number == 0
    assert queue.has_ended
