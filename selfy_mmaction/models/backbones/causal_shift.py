# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""One-sided temporal shift: features move only from a frame to the next one."""

from typing import Any

import torch
import torch.nn.functional as F
from mmaction.models.backbones.resnet_tsm import TemporalShift
from torch import Tensor


class CausalShift(TemporalShift):
    """Temporal shift of online TSM (Lin et al., ICCV 2019).

    The source is its section "Online Models with Uni-directional TSM". The first
    ``C // shift_div`` channels of a frame are replaced with those of the frame before
    it, or zeros in the first frame of a clip. All others stay, while mmaction2's shift
    also takes as many channels from the next frame. Weights and multiply-adds are the
    same.

    Args:
        net: Layer that receives the shifted features.
        num_segments: Frames per clip, T. Default: 3.
        shift_div: One of so many channels is shifted. Default: 8.
    """

    @staticmethod
    def shift(x: Tensor, num_segments: int, shift_div: int = 3) -> Tensor:
        """Shift the features of clips.

        Args:
            x: Features of N clips, (N*T, C, H, W).
            num_segments: Frames per clip, T.
            shift_div: See the class. Default: 3, as in the host.

        Returns:
            (N*T, C, H, W).
        """
        clips = x.unflatten(0, (-1, num_segments))
        fold = x.size(1) // shift_div
        past = F.pad(clips[:, :-1, :fold], (0, 0, 0, 0, 0, 0, 1, 0))
        return torch.cat([past, clips[:, :, fold:]], 2).flatten(0, 1)


def make_causal(backbone: Any) -> None:
    """Replace the temporal shifts of a ResNetTSM with causal ones, in place.

    Args:
        backbone: The backbone.

    Raises:
        ValueError: If other layers see frames after the current one, or there is no
            shift.
    """
    needed = dict(is_shift=True, temporal_pool=False, non_local_cfg={})
    for name, value in needed.items():
        if getattr(backbone, name) != value:
            raise ValueError(
                'causal_shift=True makes the temporal shifts one-sided, so it needs '
                f'{name}={value}, but got {getattr(backbone, name)!r}'
            )
    for module in [*backbone.modules()]:
        for name, child in module.named_children():
            if type(child) is TemporalShift:
                causal = CausalShift(child.net, child.num_segments, child.shift_div)
                setattr(module, name, causal)
