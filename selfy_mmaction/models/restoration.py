# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""From the matching grid back to the size of the visual features (supplement, A)."""

import torch.nn.functional as F
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor


@MODELS.register_module()
class UpsampleRestoration(BaseModule):
    """Interpolation; the paper says "upsample" and no more.

    Args:
        mode: Mode of `torch.nn.functional.interpolate`, 'nearest' or 'bilinear'.
            Default: 'nearest', with which it does not
            matter whether Eq. 9's ReLU comes before or after it.
    """

    def __init__(self, mode: str = 'nearest') -> None:
        super().__init__()
        if mode not in ('nearest', 'bilinear'):
            raise ValueError(f"mode must be 'nearest' or 'bilinear', but got {mode!r}")
        self.mode = mode

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Restore the size of the visual features.

        Args:
            x: Integrated features, (N*T, C, h, w).
            size: Size (H, W) of the visual features.

        Returns:
            (N*T, C, H, W).
        """
        if x.shape[-2:] == size:
            return x
        return F.interpolate(x, size=size, mode=self.mode)
