# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What both versions of the benchmark draw: noise, shapes, and photometric changes."""

import cv2
import numpy as np

NUM_FRAMES = 24
FRAME_SIZE = 68
JITTER = 1
"""Largest shift of a whole frame along each axis, in pixels."""
BRIGHTNESS = 0.05
"""Largest relative change of a frame's brightness."""
FLICKER_GAIN = (0.3, 1.7)
"""Range of the contrast of a frame around mid-gray in ``val_flicker``."""
FLICKER_OFFSET = 17.0
"""Standard deviation of the color offset of a frame in ``val_flicker``, per channel in
gray levels: 0.3 times the standard deviation used to normalize ImageNet pixels."""
OCCLUDER_SIZE = 56
"""Side of the square that hides most of a frame in ``val_occluded``."""
BLUR_LENGTH = 15
"""Length of the motion blur in ``val_blurred``, in pixels."""

_MID_GRAY = 128


def noise(rng: np.random.Generator, size: int, cell: int, contrast: int) -> np.ndarray:
    """Draw smooth color noise.

    Args:
        rng: Random number generator.
        size: Height and width in pixels.
        cell: Distance of the random values in pixels.
        contrast: Largest distance from mid-gray, in gray levels.

    Returns:
        (size, size, 3), uint8.
    """
    cells = -(-size // cell)
    grid = rng.integers(
        _MID_GRAY - contrast, _MID_GRAY + contrast, size=(cells, cells, 3)
    )
    # INTER_LINEAR_EXACT uses integer arithmetic: same bits on every processor.
    return cv2.resize(
        grid.astype(np.uint8), (size, size), interpolation=cv2.INTER_LINEAR_EXACT
    )


def periodic_noise(
    rng: np.random.Generator, size: int, cell: int, contrast: int
) -> np.ndarray:
    """Draw smooth color noise that continues beyond its borders; see :func:`noise`.

    Raises:
        ValueError: If ``size`` is not a multiple of ``cell``.
    """
    if size % cell:
        raise ValueError(f'size must be a multiple of cell={cell}, got {size}')
    cells = size // cell
    grid = rng.integers(
        _MID_GRAY - contrast, _MID_GRAY + contrast, size=(cells, cells, 3)
    ).astype(np.uint8)
    grid = np.pad(grid, ((1, 1), (1, 1), (0, 0)), mode='wrap')
    enlarged = cv2.resize(
        grid, (size + 2 * cell,) * 2, interpolation=cv2.INTER_LINEAR_EXACT
    )
    return enlarged[cell:-cell, cell:-cell]


def shape_mask(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a disk, a rectangle or a triangle, (size, size), bool."""
    mask = np.zeros((size, size), np.uint8)
    last = size - 1
    kind = rng.integers(3)
    if kind == 0:
        cv2.circle(mask, (size // 2, size // 2), (size - 1) // 2, 1, -1)
    elif kind == 1:
        margin = int(rng.integers(size // 4, endpoint=True))
        cv2.rectangle(mask, (0, margin), (last, last - margin), 1, -1)
    else:
        corners = [(int(rng.integers(size)), 0), (0, last), (last, last)]
        cv2.fillConvexPoly(mask, np.array(corners, np.int32), 1)
    return np.rot90(mask, rng.integers(4)).astype(bool)


def paste_on_torus(
    colors: np.ndarray,
    covers: np.ndarray,
    texture: np.ndarray,
    mask: np.ndarray,
    corner: np.ndarray,
) -> None:
    """Draw a shape on a periodic layer.

    Args:
        colors: The layer, (S, S, 3), changed in place.
        covers: Where the layer has shapes, (S, S), bool, changed in place.
        texture: Colors of the shape, (size, size, 3).
        mask: The shape, (size, size), bool.
        corner: x and y of its upper left corner.
    """
    torus, size = len(colors), len(mask)
    x, y = corner
    rows = ((y + np.arange(size)) % torus)[:, None]
    columns = (x + np.arange(size)) % torus
    colors[rows, columns] = np.where(mask[..., None], texture, colors[rows, columns])
    covers[rows, columns] |= mask


def to_pixels(values: np.ndarray) -> np.ndarray:
    """Round to uint8."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def flicker(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change contrast and color of each frame, (T, H, W, 3), uint8."""
    gain = rng.uniform(*FLICKER_GAIN, size=(len(frames), 1, 1, 1))
    offset = rng.normal(0, FLICKER_OFFSET, size=(len(frames), 1, 1, 3))
    return to_pixels(_MID_GRAY + gain * (frames.astype(float) - _MID_GRAY) + offset)


def occlude(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cover a square of frames, (T, H, W, 3), uint8, with gray."""
    covered = frames.copy()
    top, left = rng.integers(FRAME_SIZE - OCCLUDER_SIZE, size=2, endpoint=True)
    rows, columns = (slice(start, start + OCCLUDER_SIZE) for start in (top, left))
    covered[:, rows, columns] = _MID_GRAY
    return covered


def motion_blur(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur frames, (T, H, W, 3), uint8, along one of their axes."""
    size = (BLUR_LENGTH, 1) if rng.integers(2) else (1, BLUR_LENGTH)
    return np.stack([cv2.blur(frame, size) for frame in frames])
