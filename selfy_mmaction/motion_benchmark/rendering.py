# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Rendering of the clips: scenes, frames, and the flicker of ``val_flicker``."""

import cv2
import numpy as np

from .patterns import NUM_FRAMES, TORUS_SIZE, draw_positions, partner_order
from .presets import SPLITS, get_preset

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

_MID_GRAY = 128


def _stream(seed: int, split: str, pair: int, part: str) -> np.random.Generator:
    # One stream per part of each pair: clips do not depend on the order in which they
    # are rendered, and a track can be drawn without rendering.
    key = (
        ('train', 'val').index(split),
        pair,
        ('track', 'scene', 'frames', 'flicker').index(part),
    )
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def draw_track(seed: int, split: str, pair: int, pattern: str, axis: str) -> np.ndarray:
    """Draw the positions of the layer in the first clip of a pair.

    Args:
        seed: Seed of the dataset.
        split: ``'train'`` or ``'val'``.
        pair: Index of the pair in its split.
        pattern: Motion pattern of the pair.
        axis: Axis of the pair.

    Returns:
        (24, 2), see :func:`draw_positions`.
    """
    return draw_positions(_stream(seed, split, pair, 'track'), pattern, axis)


def _noise(rng: np.random.Generator, size: int, cell: int, contrast: int) -> np.ndarray:
    cells = -(-size // cell)
    grid = rng.integers(
        _MID_GRAY - contrast, _MID_GRAY + contrast, size=(cells, cells, 3)
    )
    # INTER_LINEAR_EXACT uses integer arithmetic: same bits on every processor.
    return cv2.resize(
        grid.astype(np.uint8), (size, size), interpolation=cv2.INTER_LINEAR_EXACT
    )


def _shape_mask(rng: np.random.Generator, size: int) -> np.ndarray:
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


def _draw_layer(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    layer = np.zeros((TORUS_SIZE, TORUS_SIZE, 3), np.uint8)
    covered = np.zeros((TORUS_SIZE, TORUS_SIZE), bool)
    for _ in range(rng.integers(8, 14, endpoint=True)):
        size = int(rng.integers(14, 24, endpoint=True))
        x, y = rng.integers(TORUS_SIZE, size=2)
        mask = _shape_mask(rng, size)
        rows = ((y + np.arange(size)) % TORUS_SIZE)[:, None]
        columns = (x + np.arange(size)) % TORUS_SIZE
        texture = _noise(rng, size, cell=6, contrast=112)
        layer[rows, columns] = np.where(mask[..., None], texture, layer[rows, columns])
        covered[rows, columns] |= mask
    return layer, covered


def _to_pixels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _flicker(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    gain = rng.uniform(*FLICKER_GAIN, size=(NUM_FRAMES, 1, 1, 1))
    offset = rng.normal(0, FLICKER_OFFSET, size=(NUM_FRAMES, 1, 1, 3))
    return _to_pixels(_MID_GRAY + gain * (frames.astype(float) - _MID_GRAY) + offset)


def render_pair(
    seed: int, split: str, pair: int, pattern: str, axis: str
) -> tuple[np.ndarray, np.ndarray]:
    """Render both clips of a pair.

    Args:
        seed: Seed of the dataset.
        split: ``'train'``, ``'val'``, or ``'val_flicker'``, which is ``'val'`` with
            photometric changes from frame to frame.
        pair: Index of the pair in its split.
        pattern: Motion pattern of the pair.
        axis: Axis of the pair.

    Returns:
        The clips of the signs ``+`` and ``-``, each (24, 68, 68, 3), RGB, uint8. The
        second has the frames of the first in the order of `partner_order`.
    """
    scene_split = 'val' if split == 'val_flicker' else split
    scene = _stream(seed, scene_split, pair, 'scene')
    # The margin keeps the jittered window inside the background.
    background = _noise(scene, FRAME_SIZE + 2 * JITTER, cell=14, contrast=64)
    layer, covered = _draw_layer(scene)

    positions = draw_track(seed, scene_split, pair, pattern, axis)
    photometry = _stream(seed, scene_split, pair, 'frames')
    jitter = photometry.integers(-JITTER, JITTER, size=(NUM_FRAMES, 2), endpoint=True)
    gain = photometry.uniform(
        1 - BRIGHTNESS, 1 + BRIGHTNESS, size=(NUM_FRAMES, 1, 1, 1)
    )

    frames = np.empty((NUM_FRAMES, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
    window = np.arange(FRAME_SIZE)
    for frame, (x, y), (dx, dy) in zip(frames, positions, jitter, strict=True):
        rows = ((window + dy - y) % TORUS_SIZE)[:, None]
        columns = (window + dx - x) % TORUS_SIZE
        back = background[window[:, None] + JITTER + dy, window + JITTER + dx]
        frame[:] = np.where(
            covered[rows, columns][..., None], layer[rows, columns], back
        )
    frames = _to_pixels(frames * gain)
    if split == 'val_flicker':
        frames = _flicker(frames, _stream(seed, scene_split, pair, 'flicker'))
    return frames, frames[partner_order(pattern)]


def render_clip(preset: str, split: str, index: int, seed: int = 0) -> np.ndarray:
    """Render one clip without encoding it, for figures and checks.

    Args:
        preset: ``'tiny'``, ``'small'`` or ``'full'``.
        split: ``'train'``, ``'val'`` or ``'val_flicker'``.
        index: Index of the clip in its split, from 0. Its label is
            ``clip_label(preset, index)``.
        seed: Seed of the dataset. Default: 0.

    Returns:
        Frames, (24, 68, 68, 3), RGB, uint8.

    Raises:
        ValueError: If the preset or the split does not exist.
        IndexError: If the clip does not exist.
    """
    chosen = get_preset(preset)
    if split not in SPLITS:
        raise ValueError(f'unknown split {split!r}; known: {", ".join(SPLITS)}')
    if not 0 <= index < chosen.num_clips(split):
        raise IndexError(
            f'clip {index} does not exist; split {split!r} of preset {preset!r} has '
            f'{chosen.num_clips(split)} clips'
        )
    pair, member = divmod(index, 2)
    return render_pair(seed, split, pair, *chosen.kinds[pair % len(chosen.kinds)])[
        member
    ]
