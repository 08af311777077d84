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
    """Compare the pipelines' clips with those that the model was made for.

    These are the ``num_segments`` of the backbone and, in networks of frames, of neck
    and head; and, for blocks that group features by a fixed T, the T of the
    ``input_shape`` they were inserted with. A 2D recognizer takes the frames of all
    clips as one batch; where the two numbers differ but the batch still divides, frames
    of different videos are compared with one another and nothing fails. Networks that
    show the T of each clip may be given any.

    Datasets are found inside wrappers, samplers inside wrapping steps. A pipeline
    without a sampler to compare is named in a warning.

    Raises:
        ValueError: The pipeline samples another number of frames per clip, or the
            parts of the model disagree.
    """

    def check(self, model: nn.Module, dataset: Any) -> None:
        """Compare the model with a dataset's pipeline."""
        check_clip_lengths(
            model,
            getattr(dataset, 'pipeline', None),
            f'pipeline of {type(dataset).__name__}',
        )


def check_clip_lengths(model: nn.Module, pipeline: Any, name: str) -> None:
    """Compare the clips of a pipeline with those that a model was made for.

    Args:
        model: The recognizer.
        pipeline: Its pipeline.
        name: What the pipeline is called in a warning.

    Raises:
        ValueError: As :class:`ClipLengthCheckHook`.
    """
    expected = list(_clip_lengths(model))
    if not expected:
        return
    samplers = clip_samplers(pipeline)
    if not samplers:
        print_log(
            f'The {name} has no step with clip_len and num_clips, so its frames per '
            f'clip cannot be compared with the model: {expected[0][0]}.',
            logger='current',
            level=logging.WARNING,
        )
    for sampler in samplers:
        num_frames = sampler.clip_len * sampler.num_clips
        for advice, length in expected:
            # Clips of several frames are several clips, one after the other.
            if length not in (num_frames, sampler.clip_len):
                raise ValueError(
                    f'{type(sampler).__name__} samples {num_frames} frames per clip '
                    f'(clip_len={sampler.clip_len} * num_clips={sampler.num_clips}), '
                    f'but {advice}'
                )


def _clip_lengths(model: nn.Module) -> Iterator[tuple[str, int]]:
    """What is expected in words, and the frames of a clip."""
    backbone = getattr(model, 'backbone', None)
    backbone_length = getattr(backbone, 'num_segments', None)
    if backbone_length is not None:
        yield (
            f'the backbone has num_segments={backbone_length}; make them equal (and '
            'num_segments of the head)',
            backbone_length,
        )
    # Networks of clips may stride over time before the neck.
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
                    f'the head has num_segments={head_length}, but a neck hands over '
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
                f'the block after {layer!r} was inserted for clips of {length} frames '
                'and groups them by that; make them equal, here or in input_shape of '
                'InsertBlocks',
                length,
            )
