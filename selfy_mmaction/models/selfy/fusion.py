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
        relu: Position of the ReLU. Default: 'before'.

            - 'before': V + ReLU(x), as in Eq. 9.
            - 'after': ReLU(V + x), as in the official code. With x = 0, it is the
              identity only if V >= 0, as after the stages of a ResNet.
            - 'none': V + x, for features that may be negative.

    Raises:
        ValueError: If ``relu`` is not supported.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import ResidualFusion
        >>> visual, stss = torch.tensor([-1.0, 2.0]), torch.tensor([3.0, -5.0])
        >>> for relu in ('before', 'after', 'none'):
        ...     print(ResidualFusion(relu)(visual, stss).tolist())
        [2.0, 2.0]
        [2.0, 0.0]
        [2.0, -3.0]
    """

    def __init__(self, relu: str = 'before') -> None:
        super().__init__()
        self.relu = check_choice('relu', relu, ('before', 'after', 'none'))

    def forward(self, visual: Tensor, stss: Tensor) -> Tensor:
        """Fuse visual and STSS features.

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
        """Return the options to print."""
        return f'relu={self.relu!r}'


@MODELS.register_module()
class ReplacementFusion(Module):
    """Only the STSS representation: Z = ReLU(x), supplement Table 3c.

    Eq. 9 without the sum; the visual features are dropped.

    Attributes:
        relu: 'before', the position of the ReLU in Eq. 9.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import ReplacementFusion
        >>> visual, stss = torch.tensor([-1.0, 2.0]), torch.tensor([3.0, -5.0])
        >>> ReplacementFusion()(visual, stss)
        tensor([3., 0.])
    """

    # Makes the block reject zero_init_last_norm, which this ReLU would trap at zero.
    relu = 'before'

    def forward(self, visual: Tensor, stss: Tensor) -> Tensor:
        """Replace the visual features.

        Args:
            visual: Visual features V, (N*T, C, H, W). Ignored.
            stss: Restored STSS features, (N*T, C, H, W).

        Returns:
            Z, (N*T, C, H, W).
        """
        return F.relu(stss)
