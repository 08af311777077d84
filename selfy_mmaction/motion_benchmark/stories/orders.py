# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The four orders in which the frames of a story are told.

A story is a set of 24 frames. Each is drawn from a phase between -1 and 1, or is hidden
by a curtain. The four clips of a story show the same frames in four orders, which are
its four classes. Unordered frames therefore have no information about the order, nor
do the middle frames of the eight segments, which are the same in all four.
"""

from typing import NamedTuple

import numpy as np

from ..drawing import NUM_FRAMES

_REACH = 9  # frames on each side of the middle


class Telling(NamedTuple):
    """How the frames of a story are told.

    Attributes:
        phases: Phase of each frame in the first order, (24,), float, from -1 to 1.
        hidden: Whether a curtain hides the frame, (24,), bool.
        orders: Indices of the frames in the four orders, (4, 24), int64. The second
            order is the motion of the first in the other direction, the fourth that of
            the third.
    """

    phases: np.ndarray
    hidden: np.ndarray
    orders: np.ndarray


def through() -> Telling:
    """Through the middle, or out and back on both sides.

    - First order: from -1 to 1, with a pause of two segments at 0. The second is its
      reverse.
    - Third order: from 0 to 1 and back at twice the speed, a pause of two segments, and
      the same on the other side. The fourth begins with the other side.
    """
    middle = np.zeros(24 - 2 * _REACH)
    side = np.arange(1, _REACH + 1)
    phases = np.concatenate([-side[::-1], middle, side]) / _REACH
    order = np.arange(NUM_FRAMES)
    pause = order[_REACH:-_REACH]
    plus, minus = order[-_REACH:], order[:_REACH][::-1]
    # The middle frames of the three segments are those of the first order: 1, 4 and 7.
    out_and_back = [2, 4, 6, 8, 7, 5, 3, 1, 0]
    plus, minus = plus[out_and_back], minus[out_and_back]
    orders = np.stack(
        [
            order,
            order[::-1],
            np.concatenate([plus, pause, minus]),
            np.concatenate([minus, pause, plus]),
        ]
    )
    return Telling(phases, np.zeros(NUM_FRAMES, bool), orders)


def behind_curtain() -> Telling:
    """From one place to another, always behind a curtain.

    - First order: at -1 for three segments, behind the curtain for two, at 1 for three.
      The second is its reverse.
    - Third order: at -1 for two segments, behind the curtain for one, at 1 for three,
      behind the curtain for one, and back at -1 for one. The fourth is its reverse with
      both places exchanged.
    """
    phases = np.repeat([-1.0, 0.0, 1.0], [9, 6, 9])
    hidden = np.repeat([False, True, False], [9, 6, 9])
    order = np.arange(NUM_FRAMES)
    low, curtain, high = order[:9], order[9:15], order[15:]

    def there_and_back(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.concatenate([first[:6], curtain[:3], second, curtain[3:], first[6:]])

    orders = np.stack(
        [order, order[::-1], there_and_back(low, high), there_and_back(high, low)]
    )
    return Telling(phases, hidden, orders)
