# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Rendering of both clips of a pair."""

import numpy as np

from ..drawing import (
    BRIGHTNESS,
    FRAME_SIZE,
    JITTER,
    flicker,
    noise,
    paste_on_torus,
    shape_mask,
    to_pixels,
)
from .patterns import NUM_FRAMES, TORUS_SIZE, draw_positions, partner_order

SPLITS = ('train', 'val', 'val_flicker')


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


def _draw_layer(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    layer = np.zeros((TORUS_SIZE, TORUS_SIZE, 3), np.uint8)
    covered = np.zeros((TORUS_SIZE, TORUS_SIZE), bool)
    for _ in range(rng.integers(8, 14, endpoint=True)):
        size = int(rng.integers(14, 24, endpoint=True))
        corner = rng.integers(TORUS_SIZE, size=2)
        mask = shape_mask(rng, size)
        texture = noise(rng, size, cell=6, contrast=112)
        paste_on_torus(layer, covered, texture, mask, corner)
    return layer, covered


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
    background = noise(scene, FRAME_SIZE + 2 * JITTER, cell=14, contrast=64)
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
    frames = to_pixels(frames * gain)
    if split == 'val_flicker':
        frames = flicker(frames, _stream(seed, scene_split, pair, 'flicker'))
    return frames, frames[partner_order(pattern)]
