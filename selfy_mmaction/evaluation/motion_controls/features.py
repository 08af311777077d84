# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Features of clips for a linear classifier, with and without the order of frames."""

from collections.abc import Callable

import cv2
import numpy as np

BLOCK = 8
"""Side of the blocks that are matched, in pixels."""
SEARCH = 16
"""Largest displacement along each axis, in pixels."""
OFFSETS = (1, 2, 3)
"""Temporal offsets of the oracle, in sampled frames."""

# Squared difference per pixel of displacement: without it, blocks without texture
# would match anywhere.
_COST_OF_A_PIXEL = 3.0 * BLOCK**2 / 64
_SMALL = 16


def match_blocks(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Find where each block of a frame is in a later one.

    Exhaustive search for the least sum of squared differences.

    Args:
        before: Gray values, (H, W), float32; H and W are multiples of 8.
        after: The same of the later frame.

    Returns:
        (2, H / 8, W / 8), float32: x and y displacement in pixels, from -16 to 16.
    """
    height, width = (side // BLOCK for side in before.shape)
    # Beyond the frame, nothing matches.
    around = cv2.copyMakeBorder(
        after, SEARCH, SEARCH, SEARCH, SEARCH, cv2.BORDER_CONSTANT, value=-255
    )
    y, x = np.mgrid[-SEARCH : SEARCH + 1, -SEARCH : SEARCH + 1]
    cost = (_COST_OF_A_PIXEL * (abs(x) + abs(y))).astype(np.float32)
    found = np.empty((2, height, width), np.float32)
    for row, column in np.ndindex(height, width):
        top, left = row * BLOCK, column * BLOCK
        block = before[top : top + BLOCK, left : left + BLOCK]
        window = around[
            top : top + BLOCK + 2 * SEARCH, left : left + BLOCK + 2 * SEARCH
        ]
        error = cv2.matchTemplate(window, block, cv2.TM_SQDIFF) + cost
        down, across = divmod(int(error.argmin()), 2 * SEARCH + 1)
        found[:, row, column] = across - SEARCH, down - SEARCH
    return found


def _motion(frames: np.ndarray, offset: int) -> np.ndarray:
    """Match each frame with a later one: (T - offset, 4, H / 16, W / 16)."""
    gray = frames.astype(np.float32).mean(-1)
    pairs = []
    for before, after in zip(gray[:-offset], gray[offset:], strict=True):
        found = match_blocks(before, after) / SEARCH
        pooled = np.concatenate([found, abs(found)])
        height, width = (side // 2 for side in pooled.shape[1:])
        pairs.append(pooled.reshape(4, height, 2, width, 2).mean((2, 4)))
    return np.stack(pairs)


def _shrink(frames: np.ndarray) -> np.ndarray:
    return np.stack(
        [
            cv2.resize(frame, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA)
            for frame in frames.astype(np.float32)
        ]
    )


def _one(frames: np.ndarray) -> np.ndarray:
    return _shrink(frames[(len(frames) - 1) // 2][None])


def _first(frames: np.ndarray) -> np.ndarray:
    return _shrink(frames[:1])


def _first_and_last(frames: np.ndarray) -> np.ndarray:
    return _shrink(frames[[0, -1]])


def _unordered(frames: np.ndarray) -> np.ndarray:
    # Sorted at each position: the same for any order of the frames.
    return np.sort(_shrink(frames), axis=0)


def _statistics(frames: np.ndarray) -> np.ndarray:
    pixels = frames.astype(np.float32).reshape(len(frames), -1, 3)
    return np.concatenate([pixels.mean(1), pixels.std(1)])


def _unordered_pairs(frames: np.ndarray) -> np.ndarray:
    return np.sort(_motion(frames, 1), axis=0)


def _oracle(frames: np.ndarray) -> np.ndarray:
    parts = [_motion(frames, offset).ravel() for offset in OFFSETS]
    return np.concatenate(parts)


FEATURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    'one frame': _one,
    'first frame': _first,
    'first and last frame': _first_and_last,
    'unordered frames': _unordered,
    'statistics of each frame, in order': _statistics,
    'motion of unordered adjacent pairs': _unordered_pairs,
    'oracle: motion of ordered pairs': _oracle,
}
"""Features of frames (T, H, W, 3), uint8, by name."""
