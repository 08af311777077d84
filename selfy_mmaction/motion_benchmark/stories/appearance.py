# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What background and shapes look like in each split."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..drawing import noise, periodic_noise

Texture = Callable[[np.random.Generator, int], np.ndarray]
"""Draws (size, size, 3), uint8."""


@dataclass(frozen=True)
class Appearance:
    """What a scene looks like.

    Attributes:
        background: Draws the periodic background.
        texture: Draws the texture of a shape.
        curtain: Draws the curtain.
        decoys: Whether the background has shapes, too.
        cell: Side of the smallest element that is drawn, in pixels.
    """

    background: Texture
    texture: Texture
    curtain: Callable[[int], np.ndarray]
    decoys: bool = False
    cell: int = 1


def _background(rng: np.random.Generator, size: int) -> np.ndarray:
    return periodic_noise(rng, size, cell=16, contrast=64)


def _smooth(rng: np.random.Generator, size: int) -> np.ndarray:
    return noise(rng, size, cell=6, contrast=112)


def _striped(rng: np.random.Generator, size: int) -> np.ndarray:
    period = rng.integers(2, 5)
    rows, columns = np.indices((size, size)) // period
    pattern = (rows, columns, rows + columns)[rng.integers(3)] % 2
    return rng.integers(16, 240, size=(2, 3)).astype(np.uint8)[pattern]


def _grain(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.integers(16, 240, size=(size, size, 3)).astype(np.uint8)


def choose_appearance(split: str, rng: np.random.Generator) -> Appearance:
    """Choose the appearance of a scene.

    - ``val_textures``: stripes and checks, which training does not show.
    - ``val_noise``: every cell of 3x3 px of everything has an independent random color,
      so that nothing but motion distinguishes a shape from the background.
    - ``val_misleading``: all shapes have the same texture, and some never move.
    - All others: smooth noise.
    """
    cloth = noise(rng, 96, cell=24, contrast=112)

    def curtain(size: int) -> np.ndarray:
        return cloth[:size, :size]

    if split == 'val_textures':
        return Appearance(_background, _striped, curtain)
    if split == 'val_noise':
        return Appearance(_grain, _grain, curtain, cell=3)
    if split == 'val_misleading':
        cloth_of_all = _smooth(rng, 32)

        def same(rng: np.random.Generator, size: int) -> np.ndarray:
            return cloth_of_all[:size, :size]

        return Appearance(_background, same, curtain, decoys=True)
    return Appearance(_background, _smooth, curtain)
