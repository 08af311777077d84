# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Tiny recognizers with random weights, and clips for them."""

from pathlib import Path

import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from torch import nn

MODEL_CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'models'
# Of the motion benchmark: frames of 64x64, 12 classes.
IS_2D = dict(
    tsn_r18_slim=True,
    tsm_r18_slim=True,
    selfy_tsn_r18_slim=True,
    slowonly_r18_slim=False,
    selfy_slowonly_r18_slim=False,
)


def build(name: str, **options) -> nn.Module:
    """Build a network of the motion benchmark whose classes differ.

    Args:
        name: Name of a file in ``configs/_base_/models``.
        options: Options of the config, with ``__`` for dots.
    """
    config = Config.fromfile(MODEL_CONFIGS / f'{name}.py')
    config.merge_from_dict({k.replace('__', '.'): v for k, v in options.items()})
    return with_random_weights(MODELS.build(config.model))


def with_random_weights(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
    return model.eval()


def pack(frames: torch.Tensor) -> dict:
    """Pack frames like ``PackActionInputs``."""
    sample = ActionDataSample(metainfo=dict(img_shape=tuple(frames.shape[-2:])))
    return dict(inputs=frames, data_samples=sample.set_gt_label(-1))


def make_clip(is_2d: bool = True, views: int = 1, size: tuple = (64, 64)) -> dict:
    """Make a clip of 8 random frames, as its test pipeline packs it."""
    generator = torch.Generator().manual_seed(1)
    shape = (8 * views, 3, *size) if is_2d else (views, 3, 8, *size)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return pack(frames)
