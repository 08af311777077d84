# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Where the moving layer is in each frame of a clip, for each pattern of motion.

A pattern is written for the ``+`` sign only. The clip of the ``-`` sign is the
same frames in the order of `partner_order`, which is the negated pattern started
from where the permuted clip starts: this is what makes the signs equal as sets.
"""

import numpy as np

NUM_FRAMES = 24
TORUS_SIZE = 96
"""Side of the periodic moving layer, in pixels."""

DISTANCES = {'go': (36, 56), 'back': (18, 28), 'pback': (9, 14)}
"""Smallest and largest distance, in pixels: end to end for ``go``, one way for
``back``, one way of each of the two excursions for ``pback``."""

AXES = {'horizontal': ('right', 'left'), 'vertical': ('down', 'up')}
"""Axis -> the direction of the first movement under the signs ``+`` and ``-``."""


def displacements(pattern: str, distance: int) -> np.ndarray:
    """Displacement of the layer from its first position, for the ``+`` sign.

    Args:
        pattern: ``go`` (constant velocity), ``back`` (out and back) or ``pback``
            (rest, out and back, pause, out and back on the other side, rest).
        distance: Distance in pixels, see `DISTANCES`.

    Returns:
        Integer array of shape ``(24,)``: pixels along the axis, 0 in frame 0.

    Raises:
        ValueError: If the pattern is unknown.
    """
    half = NUM_FRAMES // 2
    # No value below is half an integer (the denominators are odd), so rounding
    # commutes with the mirroring and the reversal that the partners rely on.
    if pattern == 'go':
        path = distance * np.arange(NUM_FRAMES) / (NUM_FRAMES - 1)
    elif pattern == 'back':
        out = distance * np.arange(half) / (half - 1)
        path = np.concatenate([out, out[::-1]])
    elif pattern == 'pback':
        # With 8 segments of 3 frames each excursion fills one segment, and the pause
        # and both rests fill two: whichever frame of a segment is sampled, a sample
        # at rest and its neighbor never show both excursions.
        excursion = distance * np.array([2, 3, 2]) / 3
        rest = np.zeros(6)
        path = np.concatenate([rest, excursion, rest, -excursion, rest])
    else:
        raise ValueError(f'unknown pattern {pattern!r}; known: {", ".join(DISTANCES)}')
    return np.rint(path).astype(np.int64)


def partner_order(pattern: str) -> np.ndarray:
    """The order in which a clip's frames are its partner of the other sign.

    Args:
        pattern: ``go``, ``back`` or ``pback``.

    Returns:
        Integer array of shape ``(24,)``, a permutation of ``0 .. 23`` that is its own
        inverse. The two halves are swapped for ``back``, whose reversal would be
        itself; the clip is reversed for ``go`` and ``pback``.
    """
    frames = np.arange(NUM_FRAMES)
    if pattern == 'back':
        return np.roll(frames, NUM_FRAMES // 2)
    return frames[::-1].copy()


def draw_positions(rng: np.random.Generator, pattern: str, axis: str) -> np.ndarray:
    """Draw the layer's position in every frame of a ``+`` clip.

    Args:
        rng: Stream of random numbers that serves this clip's track only.
        pattern: ``go``, ``back`` or ``pback``.
        axis: ``horizontal`` or ``vertical``.

    Returns:
        Integer array of shape ``(24, 2)``: ``(x, y)`` on the torus, in pixels from 0
        to 95. Each frame's position is uniform on the torus, whatever the pattern
        and the axis, because the phase is uniform and independent of them.
    """
    low, high = DISTANCES[pattern]
    phase = rng.integers(TORUS_SIZE, size=2)
    distance = int(rng.integers(low, high, endpoint=True))
    positions = np.tile(phase, (NUM_FRAMES, 1))
    positions[:, list(AXES).index(axis)] += displacements(pattern, distance)
    return positions % TORUS_SIZE
