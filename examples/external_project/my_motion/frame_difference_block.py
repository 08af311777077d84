# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Custom block: any module that maps (N*T, C, H, W) to the same shape."""

from mmaction.registry import MODELS
from torch import Tensor, nn

from selfy_mmaction.ops import check_num_segments


@MODELS.register_module()
class FrameDifferenceBlock(nn.Module):
    """Add the difference to the next frame to the features.

    Computes V[t] + BN(W (V[t+1] - V[t])), where W is a 1x1 convolution. The difference
    is zero for the last frame. The scale of the norm is initialized to zero, so the
    block is the identity at the start of training.

    Args:
        in_channels: Number of channels C.
        num_segments: Frames per clip T. Default: 8.
    """

    def __init__(self, in_channels: int, num_segments: int = 8) -> None:
        super().__init__()
        self.num_segments = num_segments
        self.project = nn.Conv2d(in_channels, in_channels, kernel_size=1, bias=False)
        self.norm = nn.BatchNorm2d(in_channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Add the differences.

        Args:
            x: Features V, (N*T, C, H, W), with the frames of each clip in order.
            num_segments: Frames per clip T of these features, passed by
                ``InsertBlocks``. Default: None, which is ``self.num_segments``.

        Returns:
            (N*T, C, H, W).

        Raises:
            ValueError: If N*T is not a multiple of ``num_segments``.
        """
        num_segments = num_segments or self.num_segments
        check_num_segments(x.size(0), num_segments)
        clips = x.unflatten(0, (-1, num_segments))  # (N, T, C, H, W)
        change = clips.diff(dim=1, append=clips[:, -1:]).flatten(0, 1)
        return x + self.norm(self.project(change))
