# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What a block made of one clip, as arrays to draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from selfy_mmaction.inference.prediction import ClassProbability
from selfy_mmaction.models.layers.positions import neighbors_inside
from selfy_mmaction.models.selfy.soft_argmax import SoftArgmaxExtraction


@dataclass(frozen=True, eq=False)
class RecordedClip:
    """Frames of a clip and the similarities between them.

    Positions are (t, y, x): frame, row and column of the matching grid. Displacements
    are (u, v) in cells of the grid, rows first, as in the paper.

    Attributes:
        video: Name of the video.
        source: What compared the frames, such as ``'SELFY block after layer2'``.
        frames: Frames that the network saw, (T, H, W, 3), uint8, RGB.
        stss: STSS tensor S (Eq. 1), (T, h, w, L, U, V), float32.
        offsets: Temporal offsets l, L of them.
        seconds: Second of each frame in the video, (T,); None if unknown.
        extraction: STSS features F (Section 3.2.1), (T, h, w, L, C_F); None without a
            block.
        integration: Output of the integration (Section 3.2.2), (T, C, h, w); None
            without a block.
        classes: The most probable classes, best first; empty without a classifier.
        temperature: Temperature of the soft-argmax. Default: 0.01, as in the paper.
    """

    video: str
    source: str
    frames: np.ndarray
    stss: np.ndarray
    offsets: Sequence[int]
    seconds: Sequence[float] | None = None
    extraction: np.ndarray | None = None
    integration: np.ndarray | None = None
    classes: Sequence[ClassProbability] = ()
    temperature: float = 0.01

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the matching grid, (h, w)."""
        return self.stss.shape[1], self.stss.shape[2]

    @property
    def window(self) -> tuple[int, int]:
        """Spatial window (U, V)."""
        return self.stss.shape[4], self.stss.shape[5]

    @property
    def cell_size(self) -> tuple[float, float]:
        """Height and width of a cell of the grid in pixels of the frames."""
        rows, cols = self.grid
        return self.frames.shape[1] / rows, self.frames.shape[2] / cols

    @cached_property
    def inside(self) -> np.ndarray:
        """Whether frame t + l is in the clip, (T, L)."""
        offsets = tuple(self.offsets)
        return neighbors_inside(len(self.frames), offsets, torch.device('cpu')).numpy()

    @cached_property
    def displacement(self) -> np.ndarray:
        """Soft-argmax of the similarities (Eq. 2), (T, h, w, L, 2); NaN outside."""
        soft_argmax = SoftArgmaxExtraction(self.window, self.temperature)
        found = soft_argmax(torch.from_numpy(self.stss)[None])[0].numpy()
        return np.where(self.inside[:, None, None, :, None], found, np.nan)

    @cached_property
    def confidence(self) -> np.ndarray:
        """Highest similarity per offset, (T, h, w, L); NaN outside the clip.

        It is low where a position has no match in the other frame: occlusion.
        """
        return np.where(
            self.inside[:, None, None], self.stss.max(axis=(-2, -1)), np.nan
        )

    @cached_property
    def best_match(self) -> np.ndarray:
        """Displacement (u, v) of the highest similarity, (T, h, w, L, 2), int."""
        rows, cols = self.window
        flat = self.stss.reshape(*self.stss.shape[:4], rows * cols)
        u, v = np.divmod(flat.argmax(axis=-1), cols)
        return np.stack([u - rows // 2, v - cols // 2], axis=-1)

    def cell_center(self, y: float, x: float) -> tuple[float, float]:
        """Row and column in pixels of the center of a cell."""
        height, width = self.cell_size
        return (y + 0.5) * height, (x + 0.5) * width
