# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""STSS transformation (Section 3.1, Eq. 1)."""

from collections.abc import Sequence

from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from selfy_mmaction.ops import check_offsets, check_window, self_similarity


@MODELS.register_module()
class STSSTransformation(BaseModule):
    """Features to their spatio-temporal self-similarity, Eq. 1.

    Args:
        num_segments: Frames per clip, T. Default: 8.
        offsets: Temporal offsets l, in frames; any set. Default: -2 to 2.
        window: Spatial window (U, V), odd. Default: (9, 9).
        eps: Added to the squared norms of the cosine similarity. Default: 1e-6.

    Raises:
        ValueError: Unusable offsets or window. Offsets beyond the clip are warned
            of.
    """

    def __init__(
        self,
        num_segments: int = 8,
        offsets: Sequence[int] = (-2, -1, 0, 1, 2),
        window: Sequence[int] = (9, 9),
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.num_segments = num_segments
        self.offsets = check_offsets(offsets, num_segments)
        self.window = check_window(window)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Transform the features.

        Args:
            x: Reduced features, (N*T, C_r, h, w).

        Returns:
            STSS tensor S, (N, T, h, w, L, U, V).
        """
        return self_similarity(
            x, self.offsets, self.window, self.num_segments, eps=self.eps
        )

    def extra_repr(self) -> str:
        return (
            f'num_segments={self.num_segments}, offsets={self.offsets}, '
            f'window={self.window}'
        )
