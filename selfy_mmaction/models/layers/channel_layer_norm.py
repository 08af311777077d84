# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Layer norm that mmaction2's optimizer constructor for TSM accepts."""

import torch.nn.functional as F
from torch import Tensor, nn


class ChannelLayerNorm(nn.GroupNorm):
    """Layer norm over the last dimension.

    ``nn.LayerNorm`` in all but its class: mmaction2's ``TSMOptimWrapperConstructor``
    raises an error for it, but trains group norms without weight decay. For rows of
    channels, both are the same.

    Args:
        channels: Size of the last dimension.
        eps: Added to the variance. Default: 1e-5.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(1, channels, eps)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each position.

        Args:
            x: Features, (..., C).

        Returns:
            (..., C).
        """
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)
