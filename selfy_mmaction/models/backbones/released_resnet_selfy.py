# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The temporal shift of the released SELFY code at depths above 50."""

from mmaction.models.backbones.resnet_tsm import TemporalShift
from mmaction.registry import MODELS

from .resnet_selfy import ResNetTSMSELFY


@MODELS.register_module()
class ReleasedResNetTSMSELFY(ResNetTSMSELFY):
    """ResNetTSMSELFY that shifts in every block, whatever the depth.

    From ResNet-101 on mmaction2 shifts in every second block, as the authors of TSM
    do; the released SELFY code shifts in all. Up to ResNet-50 both are the same.

    Args:
        depth: 18, 34, 50, 101 or 152.
        kwargs: As for :class:`ResNetTSMSELFY`; ``shift_place`` stays 'blockres'.
    """

    def make_temporal_shift(self) -> None:
        """Shift in the blocks that the host leaves out as in the others."""
        super().make_temporal_shift()
        for layer in self.res_layers:
            blocks = getattr(self, layer)
            num_segments = blocks[0].conv1.conv.num_segments
            for block in blocks:
                if not isinstance(block.conv1.conv, TemporalShift):
                    block.conv1.conv = TemporalShift(
                        block.conv1.conv, num_segments, self.shift_div
                    )
