# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Fusion of the STSS representation with the visual features (Section 3.2.2)."""

import torch.nn.functional as F
from mmaction.registry import MODELS
from torch import Tensor

from selfy_mmaction.models.layers.building import Module
from selfy_mmaction.ops import check_choice


@MODELS.register_module()
class ResidualFusion(Module):
    """Sum of the visual features and the STSS representation.

    Args:
        relu: Where the ReLU stands. Default: 'before'.

            - 'before': V + ReLU(x), Eq. 9 of the paper.
            - 'after': ReLU(V + x), the authors' released code. With x = 0 this is
              the identity only where V >= 0, as after a ResNet's stages.
            - 'none': V + x, for features that may be negative.

    Raises:
        ValueError: Another value of relu.
    """

    def __init__(self, relu: str = 'before') -> None:
        super().__init__()
        self.relu = check_choice('relu', relu, ('before', 'after', 'none'))

    def forward(self, visual: Tensor, stss: Tensor) -> Tensor:
        """Fuse.

        Args:
            visual: Visual features V, (N*T, C, H, W).
            stss: Restored STSS features, (N*T, C, H, W).

        Returns:
            (N*T, C, H, W).
        """
        if self.relu == 'before':
            return visual + F.relu(stss)
        out = visual + stss
        return F.relu(out) if self.relu == 'after' else out

    def extra_repr(self) -> str:
        return f'relu={self.relu!r}'


@MODELS.register_module()
class ReplacementFusion(Module):
    """The STSS representation alone: Z = ReLU(x), supplement Table 3c.

    Eq. 9 without the sum; the visual features go no further.

    Attributes:
        relu: 'before', where the ReLU of Eq. 9 stands.
    """

    # The block refuses to start the last norm at zero before this ReLU.
    relu = 'before'

    def forward(self, visual: Tensor, stss: Tensor) -> Tensor:
        """Leave the visual features out.

        Args:
            visual: Visual features V, (N*T, C, H, W). Not needed.
            stss: Restored STSS features, (N*T, C, H, W).

        Returns:
            Z, (N*T, C, H, W).
        """
        return F.relu(stss)
