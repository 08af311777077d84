# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Check that data and model agree on the number of frames per clip."""

import logging
from collections.abc import Iterator
from typing import Any

from mmaction.models import Recognizer2D
from mmaction.registry import HOOKS
from mmengine.logging import print_log
from torch import nn

from .data_check_hook import DataCheckHook
from .data_parts import clip_samplers


@HOOKS.register_module()
class ClipLengthCheckHook(DataCheckHook):
    """Compare the clip length of the pipelines with that of the model.

    The model's clip length is ``num_segments`` of the backbone and, in 2D recognizers,
    of neck and head. Blocks that group features by a fixed T have the T of the
    ``input_shape`` they were inserted with. A 2D recognizer receives the frames of all
    clips as one batch. If the two lengths differ but the batch is divisible, frames of
    different videos are compared with each other without an error. Networks whose
    features have a dimension for T accept any length.

    Unwraps wrapped datasets and nested transforms. A pipeline without a frame sampler
    triggers a warning.

    Raises:
        ValueError: If the pipeline samples another number of frames per clip, or the
            parts of the model disagree.

    Example:
        >>> from types import SimpleNamespace
        >>> from mmaction.datasets.transforms import SampleFrames
        >>> from mmaction.models import Recognizer2D
        >>> from mmengine.registry import init_default_scope
        >>> from selfy_mmaction.engine import ClipLengthCheckHook
        >>> custom_hooks = [dict(type='ClipLengthCheckHook')]  # in a config
        >>> init_default_scope('mmaction')  # as a config does
        >>> model = Recognizer2D(dict(type='ResNetSELFY', depth=18, num_segments=8))
        >>> dataset = SimpleNamespace(pipeline=[SampleFrames(clip_len=1, num_clips=16)])
        >>> ClipLengthCheckHook().check(model, dataset)  # what it does before training
        Traceback (most recent call last):
            ...
        ValueError: SampleFrames samples 16 frames per clip ..., but the backbone has
        num_segments=8; make them equal ...
    """

    def check(self, model: nn.Module, dataset: Any) -> None:
        """Compare the model with a dataset's pipeline."""
        check_clip_lengths(
            model,
            getattr(dataset, 'pipeline', None),
            f'pipeline of {type(dataset).__name__}',
        )


def check_clip_lengths(model: nn.Module, pipeline: Any, name: str) -> None:
    """Compare the clip length of a pipeline with that of a model.

    Args:
        model: The recognizer.
        pipeline: The pipeline.
        name: Name of the pipeline in warnings.

    Raises:
        ValueError: If they differ, see :class:`ClipLengthCheckHook`.
    """
    expected = list(_clip_lengths(model))
    if not expected:
        return
    samplers = clip_samplers(pipeline)
    if not samplers:
        print_log(
            f'The {name} has no transform with clip_len and num_clips, so its number '
            f'of frames per clip cannot be checked: {expected[0][0]}.',
            logger='current',
            level=logging.WARNING,
        )
    for sampler in samplers:
        num_frames = sampler.clip_len * sampler.num_clips
        for advice, length in expected:
            # With clip_len > 1, num_clips separate clips are sampled.
            if length != num_frames and (length != sampler.clip_len or length == 1):
                raise ValueError(
                    f'{type(sampler).__name__} samples {num_frames} frames per clip '
                    f'(clip_len={sampler.clip_len} * num_clips={sampler.num_clips}), '
                    f'but {advice}'
                )
    # Each may fit the pipeline, as frames of all clips or of one.
    for advice, length in expected[1:]:
        if length != expected[0][1]:
            first = expected[0][0].partition(';')[0]
            raise ValueError(f'{first}, but {advice}')


def _clip_lengths(model: nn.Module) -> Iterator[tuple[str, int]]:
    """Yield advice for an error message, and the expected frames per clip."""
    backbone = getattr(model, 'backbone', None)
    backbone_length = getattr(backbone, 'num_segments', None)
    if backbone_length is not None:
        yield (
            f'the backbone has num_segments={backbone_length}; make them equal (and '
            'num_segments of the head)',
            backbone_length,
        )
    # 3D networks may have temporal strides before the neck.
    if isinstance(model, Recognizer2D):
        head_length = getattr(getattr(model, 'cls_head', None), 'num_segments', None)
        if not model.with_neck:
            if head_length is not None:
                yield (
                    f'the head has num_segments={head_length}; make them equal',
                    head_length,
                )
        else:
            if head_length not in (None, 1):
                raise ValueError(
                    f'the head has num_segments={head_length}, but the neck outputs '
                    'one feature per clip; set num_segments=1 in the head'
                )
            neck_length = getattr(model.neck, 'num_segments', None)
            if neck_length is not None:
                yield (
                    f'the neck has num_segments={neck_length}; make them equal',
                    neck_length,
                )
    for module in model.modules():
        for layer, length in getattr(module, 'clip_lengths', {}).items():
            yield (
                f'the block after {layer!r} was inserted for clips of {length} frames; '
                'make them equal, in the pipeline or in input_shape of InsertBlocks',
                length,
            )
