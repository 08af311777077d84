# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""TSM-ResNet with the temporal shift of the official SELFY code."""

from mmaction.models.backbones.resnet_tsm import TemporalShift
from mmaction.registry import MODELS

from .resnet_selfy import ResNetTSMSELFY


@MODELS.register_module()
class ReleasedResNetTSMSELFY(ResNetTSMSELFY):
    """ResNetTSMSELFY with a temporal shift in every residual block.

    From ResNet-101 on, mmaction2 shifts in every second residual block, as in the code
    of TSM; the official SELFY code shifts in all. Up to ResNet-50, both are the same.

    Args:
        depth: 18, 34, 50, 101 or 152.
        kwargs: See :class:`ResNetTSMSELFY`. Keep ``shift_place='blockres'``.

    Example:
        >>> from selfy_mmaction.models import ReleasedResNetTSMSELFY
        >>> backbone = ReleasedResNetTSMSELFY(depth=101)
        >>> str(backbone).count('TemporalShift')  # 3 + 4 + 23 + 3 residual blocks
        33
    """

    def make_temporal_shift(self) -> None:
        """Add the shift to the residual blocks that mmaction2 skips."""
        super().make_temporal_shift()
        for layer in self.res_layers:
            blocks = getattr(self, layer)
            num_segments = blocks[0].conv1.conv.num_segments
            for block in blocks:
                if not isinstance(block.conv1.conv, TemporalShift):
                    block.conv1.conv = TemporalShift(
                        block.conv1.conv, num_segments, self.shift_div
                    )
