# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Networks without trained weights, and the shape of a clip at their input."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from torch import nn

from selfy_mmaction.datasets.reading import split_pipeline
from selfy_mmaction.engine.clip_length_check_hook import check_clip_lengths
from selfy_mmaction.engine.data_parts import clip_samplers
from selfy_mmaction.inference.pipeline import find_test_pipeline

# Options that make a network load or download weights, and their values for none.
_WITHOUT = dict(pretrained=None, pretrained2d=False, clip_pretrained=False)
# Height and width of a decoded frame, before the pipeline resizes and crops it.
_FRAME = (256, 340)


def build_untrained(config: Config) -> nn.Module:
    """Build the network of a config with random weights.

    Nothing is loaded or downloaded.

    Args:
        config: Config, which is not changed.

    Returns:
        The recognizer, on the CPU.

    Raises:
        TypeError: If it is not a recognizer.
    """
    init_default_scope(config.get('default_scope', 'mmaction'))
    with _without_log():
        network = MODELS.build(_without_weights(config.model))
    if not hasattr(network, 'extract_feat'):
        raise TypeError(
            f'{type(network).__name__} has no extract_feat; only recognizers of clips '
            'can be measured'
        )
    return network


@contextmanager
def _without_log() -> Iterator[None]:
    """Drop what networks log about themselves, once per variant of a sweep."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def _without_weights(part: Any) -> Any:
    if isinstance(part, dict):
        return type(part)(
            (key, _WITHOUT[key] if key in _WITHOUT else _without_weights(value))
            for key, value in part.items()
        )
    if isinstance(part, (list, tuple)):
        return type(part)(map(_without_weights, part))
    return part


def clip_shape(
    config: Config, network: nn.Module, given: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Find the shape of one clip at the input of a network.

    Args:
        config: Config of the network. Frames run through the steps of its test pipeline
            after decoding; of several clips and crops, the first one counts.
        network: The network; its clip length is compared with that of the shape.
        given: Height and width instead of those of the pipeline (one number: both), or
            a whole shape. Default: None.

    Returns:
        (T, C, H, W) for 2D networks, (1, C, T, H, W) for 3D networks, as for
        mmaction2's ``get_flops.py``.

    Raises:
        ValueError: If the shape is unknown, or its number of frames is not that of the
            network.
    """
    given = tuple(given or ())
    if len(given) in (4, 5):
        _check_frames(given, network)
        return given
    pipeline = find_test_pipeline(config)
    steps = Compose(pipeline).transforms if pipeline else []
    samplers = clip_samplers(steps)
    if not samplers:
        raise ValueError(
            'the test pipeline has no step such as SampleFrames that gives the frames '
            'per clip; give --shape T 3 H W for a 2D network or --shape 1 3 T H W for '
            'a 3D network'
        )
    check_clip_lengths(network, steps, 'test pipeline')
    clip_len = samplers[0].clip_len
    # With clip_len > 1, num_clips separate clips are sampled.
    num_clips = samplers[0].num_clips if clip_len == 1 else 1
    info = dict(
        imgs=[np.zeros((*_FRAME, 3), np.uint8)] * (clip_len * num_clips),
        clip_len=clip_len,
        num_clips=num_clips,
        original_shape=_FRAME,
        img_shape=_FRAME,
        modality='RGB',
        label=-1,
    )
    for step in split_pipeline(steps)[1]:
        info = step(info)
    shape = tuple(info['inputs'].shape)
    if len(shape) not in (4, 5):
        raise ValueError(
            f'the test pipeline makes inputs of shape {shape}; only clips of frames '
            'can be measured'
        )
    # Crops are along the first axis.
    shape = (clip_len * num_clips if len(shape) == 4 else 1, *shape[1:])
    return shape[:-2] + (given * 2)[:2] if given else shape


def _check_frames(shape: tuple[int, ...], network: nn.Module) -> None:
    frames = shape[0] if len(shape) == 4 else shape[2]
    expected = getattr(getattr(network, 'backbone', None), 'num_segments', None)
    if expected is not None and frames != expected:
        raise ValueError(
            f'--shape {" ".join(map(str, shape))} has {frames} frames, but the network '
            f'takes clips of {expected}'
        )
