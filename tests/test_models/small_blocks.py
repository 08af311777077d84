# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""A small, fast SELFY block, and norms that do not mask errors."""

from typing import Any

import torch
from mmaction.registry import MODELS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

# No two neighboring widths are the same.
SMALL_BLOCK = dict(
    type='SELFYBlock',
    offsets=(-1, 0, 1),
    window=(5, 5),
    reduced_channels=4,
    extraction=dict(channels=(2, 3, 4, 5)),
    integration=dict(channels=(4, 4)),
)


def build_small_block(**kwargs: Any) -> nn.Module:
    """Build and initialize the block for 6 channels and 3 frames per clip."""
    torch.manual_seed(0)
    block = MODELS.build({**SMALL_BLOCK, 'in_channels': 6, 'num_segments': 3, **kwargs})
    block.init_weights()
    return block


def randomize_norms(module: nn.Module) -> nn.Module:
    """Randomize weights and statistics of norms, so that they do not mask errors."""
    torch.manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, _BatchNorm):
            if norm.affine:
                nn.init.normal_(norm.weight, 1, 0.2)
                nn.init.normal_(norm.bias, 0, 0.2)
            if norm.track_running_stats:
                nn.init.normal_(norm.running_mean, 0, 0.2)
                nn.init.uniform_(norm.running_var, 0.5, 2)
    return module


class FrameHost(nn.Module):
    """Network of frames into which blocks are inserted."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Map (N*T, 3, H, W) to (N*T, 8, H/2, W/2)."""
        return self.conv(frames)
