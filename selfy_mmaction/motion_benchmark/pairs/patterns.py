# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Position of the moving layer in each frame of a clip, per motion pattern.

Patterns are defined for the ``+`` sign. The clip of the ``-`` sign has the same frames
in the order of `partner_order`. This is the negated pattern, starting at the first
position of the permuted clip. The clips of both signs are therefore equal as sets of
frames.
"""

import numpy as np

from ..drawing import NUM_FRAMES

TORUS_SIZE = 96
"""Side of the periodic moving layer, in pixels."""

DISTANCES = {'go': (36, 56), 'back': (18, 28), 'pback': (9, 14)}
"""Smallest and largest distance in pixels: end to end for ``go``, one way for
``back``, one way per excursion for ``pback``."""

AXES = {'horizontal': ('right', 'left'), 'vertical': ('down', 'up')}
"""Directions of the first movement for the signs ``+`` and ``-``, per axis."""


def displacements(pattern: str, distance: int) -> np.ndarray:
    """Return the displacement of the layer from its first position, for ``+``.

    Args:
        pattern: ``'go'`` (constant velocity), ``'back'`` (out and back) or ``'pback'``
            (rest, out and back, pause, out and back on the other side, rest).
        distance: Distance in pixels, see `DISTANCES`.

    Returns:
        (24,), int64: pixels along the axis, 0 in frame 0.

    Raises:
        ValueError: If the pattern is unknown.
    """
    half = NUM_FRAMES // 2
    # The denominators are odd, so no value is half an integer, and rounding commutes
    # with the negation and the reversal of the partners.
    if pattern == 'go':
        path = distance * np.arange(NUM_FRAMES) / (NUM_FRAMES - 1)
    elif pattern == 'back':
        out = distance * np.arange(half) / (half - 1)
        path = np.concatenate([out, out[::-1]])
    elif pattern == 'pback':
        # In 8 segments of 3 frames, each excursion fills one segment, and the pause and
        # both rests fill two. Whichever frame of a segment is sampled, a sample at rest
        # and its neighbors never show both excursions.
        excursion = distance * np.array([2, 3, 2]) / 3
        rest = np.zeros(6)
        path = np.concatenate([rest, excursion, rest, -excursion, rest])
    else:
        raise ValueError(f'unknown pattern {pattern!r}; known: {", ".join(DISTANCES)}')
    return np.rint(path).astype(np.int64)


def partner_order(pattern: str) -> np.ndarray:
    """Return the order of frames that turns a clip into its partner of the other sign.

    ``go`` and ``pback`` are reversed. The halves of ``back`` are swapped, because its
    reversal is the same motion.

    Args:
        pattern: ``'go'``, ``'back'`` or ``'pback'``.

    Returns:
        (24,), int64: permutation of 0 to 23 that is its own inverse.
    """
    frames = np.arange(NUM_FRAMES)
    if pattern == 'back':
        return np.roll(frames, NUM_FRAMES // 2)
    return frames[::-1].copy()


def draw_positions(rng: np.random.Generator, pattern: str, axis: str) -> np.ndarray:
    """Draw the layer's position in every frame of a ``+`` clip.

    Args:
        rng: Random number generator used only for this clip's track.
        pattern: ``'go'``, ``'back'`` or ``'pback'``.
        axis: ``'horizontal'`` or ``'vertical'``.

    Returns:
        (24, 2), int64: (x, y) on the torus in pixels, from 0 to 95. The position in
        each frame is uniform on the torus for every pattern and axis, because the
        phase is uniform and independent of both.
    """
    low, high = DISTANCES[pattern]
    phase = rng.integers(TORUS_SIZE, size=2)
    distance = int(rng.integers(low, high, endpoint=True))
    positions = np.tile(phase, (NUM_FRAMES, 1))
    positions[:, list(AXES).index(axis)] += displacements(pattern, distance)
    return positions % TORUS_SIZE
