# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Small SELFYNets with weights and statistics that nothing can hide behind."""

from collections.abc import Sequence
from typing import Any

import torch
from mmaction.registry import MODELS
from torch import Tensor, nn

CLASSES = 5


def build(
    num_segments: int = 8,
    after: str | Sequence[str] = 'res3',
    head: str = 'TSMHead',
    backbone: dict[str, Any] | None = None,
    **block: Any,
) -> Any:
    """Build a network whose weights depend only on the options of the block."""
    bottlenecks = (backbone or {}).get('depth', 18) > 34
    settings = dict(offsets=(-2, -1, 0, 1, 2), window=(5, 3), reduced_channels=6)
    config = dict(
        type='Recognizer2D',
        backbone=dict(
            type='ResNetSELFY',
            depth=18,
            pretrained=None,
            norm_eval=False,
            base_channels=4,
            num_segments=num_segments,
            selfy=dict(after=after, block=dict(settings, type='SELFYBlock', **block)),
        )
        | (backbone or {}),
        cls_head=dict(
            type=head, num_classes=CLASSES, in_channels=128 if bottlenecks else 32
        ),
    )
    if head == 'TSMHead':
        config['cls_head'].update(num_segments=num_segments, is_shift=False)
    network = MODELS.build(config)
    randomize(network)
    return network.eval()


def randomize(network: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith('running_var') or ('bn' in name and name.endswith('weight')):
            tensor.copy_(1 + 0.2 * noise.clamp(-2, 2))
        elif tensor.dim() > 1:
            tensor.copy_(noise * (2 / tensor[0].numel()) ** 0.5)
        else:
            tensor.copy_(0.5 * noise)


def offline(network: Any, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Run mmaction2's own forward pass.

    Returns:
        Features of each frame, (N, T, C, h, w), and scores, (N, classes).
    """
    with torch.no_grad():
        features, _ = network.extract_feat(clips, stage='backbone')
        scores, _ = network.extract_feat(clips, stage='head')
    return features.unflatten(0, clips.shape[:2]), scores


def make_clips(streams: int, frames: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Make clips of 40x56: 5x7 positions after res3, 2x2 after res5."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(streams, frames, 3, 40, 56, generator=generator).to(dtype)
