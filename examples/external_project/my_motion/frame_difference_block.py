# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""A block of one's own: any module from (N*T, C, H, W) to the same shape."""

from mmaction.registry import MODELS
from torch import Tensor, nn

from selfy_mmaction.ops import check_num_segments


@MODELS.register_module()
class FrameDifferenceBlock(nn.Module):
    """Add the change to the next frame to the features.

    V[t] + BN(W (V[t+1] - V[t])), with W a 1x1 convolution. The last frame has no next
    one and counts as unchanged. The norm's scale starts at zero, so that training
    starts from the network without the block, pretrained or not.

    Args:
        in_channels: Channels C of the features.
        num_segments: Frames per clip, T. Default: 8.
    """

    def __init__(self, in_channels: int, num_segments: int = 8) -> None:
        super().__init__()
        self.num_segments = num_segments
        self.project = nn.Conv2d(in_channels, in_channels, kernel_size=1, bias=False)
        self.norm = nn.BatchNorm2d(in_channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Add the changes.

        Args:
            x: Features V, (N*T, C, H, W), the frames of a clip one after the other.
            num_segments: Frames per clip, T, of these features; ``InsertBlocks`` says
                it. Default: None, the ``num_segments`` that the block was built with.

        Returns:
            (N*T, C, H, W).

        Raises:
            ValueError: N*T is no multiple of ``num_segments``.
        """
        num_segments = num_segments or self.num_segments
        check_num_segments(x.size(0), num_segments)
        clips = x.unflatten(0, (-1, num_segments))  # (N, T, C, H, W)
        change = clips.diff(dim=1, append=clips[:, -1:]).flatten(0, 1)
        return x + self.norm(self.project(change))
