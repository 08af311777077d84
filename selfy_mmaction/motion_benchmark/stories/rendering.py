# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Rendering of the four clips of a story, for each split."""

import math

import numpy as np

from ..drawing import (
    BRIGHTNESS,
    FRAME_SIZE,
    JITTER,
    NUM_FRAMES,
    flicker,
    motion_blur,
    occlude,
    paste_on_torus,
    shape_mask,
    to_pixels,
)
from .appearance import Appearance, choose_appearance
from .orders import Telling
from .stories import STORIES, Item, Script

SPLITS = (
    'train',
    'val',
    'val_flicker',
    'val_textures',
    'val_noise',
    'val_misleading',
    'val_occluded',
    'val_blurred',
)

CENTER_FRAMES = slice(9, 12)
"""The fourth of eight segments, the center frame of Section 4.7."""
TORUS_SIZE = 96
"""Side of the periodic background and layers, in pixels."""

_PARTS = ('motion', 'scene', 'frames', 'split')


def _stream(seed: int, split: str, group: int, part: str) -> np.random.Generator:
    # All splits but train have the motions of val.
    key = (2, int(split != 'train'), group, _PARTS.index(part))
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


class _Sheet:
    """Colors that are drawn once, and where they cover what is behind them.

    Args:
        rng: Random number generator.
        item: What is drawn.
        look: Textures and size of a cell.
    """

    def __init__(self, rng: np.random.Generator, item: Item, look: Appearance) -> None:
        self._item = item
        self._cell = look.cell
        if item.layer:
            self._colors, self._covers = _draw_layer(rng, item.sizes, look)
        else:
            size = item.sizes[0] // look.cell
            self._covers = _ring(size) if item.ring else shape_mask(rng, size)
            self._colors = look.texture(rng, size)
        self._phase = rng.integers(len(self._colors), size=2)
        turned = rng.uniform(0, 2 * math.pi)
        # An unturned layer keeps the sharp edges of the shapes.
        self._turned = turned if item.path[:, 2].any() else 0.0

    def draw_on(self, frame: np.ndarray, t: int, shift: np.ndarray) -> None:
        """Draw frame t, moved by (x, y) in pixels."""
        x, y, angle, log_scale = self._item.path[t]
        x, y = (round(value / self._cell) for value in (x + shift[0], y + shift[1]))
        if self._item.layer:
            index = _torus_indices(
                len(frame),
                (x, y),
                self._phase,
                len(self._colors),
                angle + self._turned,
                log_scale,
            )
            covers = self._covers[index]
            frame[covers] = self._colors[index][covers]
            return
        side, size = len(frame), len(self._covers)
        left, top = x + (side - size) // 2, y + (side - size) // 2
        rows = slice(max(top, 0), max(min(top + size, side), 0))
        columns = slice(max(left, 0), max(min(left + size, side), 0))
        inside = (
            slice(rows.start - top, rows.stop - top),
            slice(columns.start - left, columns.stop - left),
        )
        covers = self._covers[inside]
        frame[rows, columns][covers] = self._colors[inside][covers]


def _ring(size: int) -> np.ndarray:
    ring = np.ones((size, size), bool)
    width = max(1, size // 7)
    ring[width:-width, width:-width] = False
    return ring


def _draw_layer(
    rng: np.random.Generator, sizes: tuple[int, int], look: Appearance
) -> tuple[np.ndarray, np.ndarray]:
    side = TORUS_SIZE // look.cell
    colors = np.zeros((side, side, 3), np.uint8)
    covers = np.zeros((side, side), bool)
    # Shapes of all sizes together cover about as much.
    number = round(rng.uniform(2900, 5000) / (sum(sizes) / 2) ** 2)
    for _ in range(number):
        size = int(rng.integers(*sizes, endpoint=True)) // look.cell
        corner = rng.integers(side, size=2)
        mask = shape_mask(rng, size)
        paste_on_torus(colors, covers, look.texture(rng, size), mask, corner)
    return colors, covers


def _torus_indices(
    side: int,
    position: tuple[int, int],
    phase: np.ndarray,
    torus: int,
    angle: float = 0.0,
    log_scale: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column on the torus for each cell of the frame."""
    # Fixed point: the same on every processor.
    scale = math.exp(-log_scale)
    cosine = round(4096 * scale * math.cos(angle))
    sine = round(4096 * scale * math.sin(angle))
    cells = 2 * np.arange(side) - (side - 1)
    across = cells - 2 * position[0]
    down = (cells - 2 * position[1])[:, None]
    columns = (cosine * across + sine * down) >> 13
    rows = (cosine * down - sine * across) >> 13
    return (rows + phase[1]) % torus, (columns + phase[0]) % torus


def _draw_scene(
    script: Script, telling: Telling, split: str, seed: int, group: int
) -> np.ndarray:
    """Draw the frames in the first order."""
    scene = _stream(seed, split, group, 'scene')
    look = choose_appearance(split, scene)
    background = look.background(scene, TORUS_SIZE // look.cell)
    if look.decoys:
        colors, covers = _draw_layer(scene, (14, 24), look)
        background = np.where(covers[..., None], colors, background)
    sheets = [_Sheet(scene, item, look) for item in script.items]

    photometry = _stream(seed, split, group, 'frames')
    jitter = photometry.integers(-JITTER, JITTER, size=(NUM_FRAMES, 2), endpoint=True)
    gain = photometry.uniform(
        1 - BRIGHTNESS, 1 + BRIGHTNESS, size=(NUM_FRAMES, 1, 1, 1)
    )
    side = -(-FRAME_SIZE // look.cell)
    frames = np.empty((NUM_FRAMES, FRAME_SIZE, FRAME_SIZE, 3), np.uint8)
    for t, frame in enumerate(frames):
        if telling.hidden[t]:
            frame[:] = look.curtain(FRAME_SIZE)
            continue
        shift = script.camera[t] + jitter[t]
        x, y = (round(value / look.cell) for value in shift)
        cells = background[
            _torus_indices(side, (x, y), np.zeros(2, int), len(background))
        ]
        for sheet in sheets:
            sheet.draw_on(cells, t, shift)
        enlarged = cells.repeat(look.cell, 0).repeat(look.cell, 1)
        frame[:] = enlarged[:FRAME_SIZE, :FRAME_SIZE]
    return to_pixels(frames * gain)


def render_group(story: str, seed: int, split: str, group: int) -> list[np.ndarray]:
    """Render the four clips of a story.

    Args:
        story: Name of the story in ``STORIES``.
        seed: Seed of the dataset.
        split: One of ``SPLITS``.
        group: Index of the group in its split.

    Returns:
        Four clips, one per order, each (24, 68, 68, 3), RGB, uint8. They consist of the
        same frames, except that ``val_occluded`` and ``val_blurred`` change the fourth
        segment of each.
    """
    telling = STORIES[story].tell()
    script = STORIES[story].write(_stream(seed, split, group, 'motion'), telling.phases)
    frames = _draw_scene(script, telling, split, seed, group)
    rng = _stream(seed, split, group, 'split')
    if split == 'val_flicker':
        frames = flicker(frames, rng)
    clips = [frames[order] for order in telling.orders]
    corrupt = {'val_occluded': occlude, 'val_blurred': motion_blur}.get(split)
    if corrupt:
        for clip in clips:
            clip[CENTER_FRAMES] = corrupt(clip[CENTER_FRAMES], rng)
    return clips
