# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Check that no crop is larger than the frames that it gets."""

import logging
import os
import random
from typing import Any

import numpy as np
import torch
from mmaction.registry import HOOKS
from mmengine.logging import print_log
from torch import nn

from selfy_mmaction.datasets.reading import (
    ReadingProcess,
    UnreadableError,
    read_clip,
    split_pipeline,
)

from .data_check_hook import DataCheckHook

_SECONDS = 60  # after which a clip counts as unreadable


@HOOKS.register_module()
class CropCheckHook(DataCheckHook):
    """Reject crops that are larger than the frames.

    mmaction2's ``CenterCrop``, ``ThreeCrop`` and ``TenCrop`` then silently return less
    than their ``crop_size``, and ``RandomCrop`` fails without a message. If a
    ``Resize`` before the crop does not already ensure the size, the first and the last
    clip of a dataset are read to see it. Clips that cannot be read are left to the
    dataset.

    Raises:
        ValueError: If a crop is larger than the frames.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from mmaction.datasets import VideoDataset
        >>> from mmengine.registry import init_default_scope
        >>> from selfy_mmaction.checkpoints import SAMPLE_CLIP
        >>> from selfy_mmaction.engine import CropCheckHook
        >>> custom_hooks = [dict(type='CropCheckHook')]  # in a config
        >>> init_default_scope('mmaction')  # as a config does
        >>> pipeline = [
        ...     dict(type='DecordInit'),
        ...     dict(type='SampleFrames', clip_len=1, num_clips=8),
        ...     dict(type='DecordDecode'),
        ...     dict(type='CenterCrop', crop_size=224),
        ... ]
        >>> prefix = dict(video=str(SAMPLE_CLIP.parent))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, 'train.txt')
        ...     _ = path.write_text('sample.mp4 0')
        ...     dataset = VideoDataset(str(path), pipeline, data_prefix=prefix)
        >>> CropCheckHook().check(None, dataset)  # what it does before training
        Traceback (most recent call last):
            ...
        ValueError: CenterCrop of 224x224 ... gets frames of 68x68 ...
    """

    def check(self, model: nn.Module, dataset: Any) -> None:
        """Compare the crops in a dataset's pipeline with its frames."""
        steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', [])
        last = _last_open_crop(steps)
        if last is None or not hasattr(dataset, 'get_data_info') or not len(dataset):
            return
        states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        try:
            for index in sorted({0, len(dataset) - 1}):
                _run(steps[: last + 1], dataset, index)
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])


def _crop_of(step: Any) -> tuple[int, int] | None:
    """Return width and height of a crop that needs frames of this size."""
    kind = type(step).__name__
    if kind in ('CenterCrop', 'ThreeCrop', 'TenCrop'):
        return tuple(step.crop_size)
    return (step.size, step.size) if kind == 'RandomCrop' else None


def _last_open_crop(steps: list[Any]) -> int | None:
    """Return the index of the last crop that no earlier step makes sure to fit."""
    last, least = None, (0, 0)
    for index, step in enumerate(steps):
        crop = _crop_of(step)
        if crop is not None:
            if any(size > known for size, known in zip(crop, least, strict=True)):
                last = index
            least = crop
        elif type(step).__name__ == 'Resize' and isinstance(step.scale, tuple):
            width, height = step.scale
            if not step.keep_ratio:
                least = (width, height)
            else:  # (inf, s) for the short side; other scales are upper bounds
                least = (height, height) if np.isinf(width) else (0, 0)
        elif 'Crop' in type(step).__name__ or 'Resize' in type(step).__name__:
            least = (0, 0)
    return last


def _run(steps: list[Any], dataset: Any, index: int) -> None:
    reading, rest = split_pipeline(steps)
    info = dataset.get_data_info(index)
    path = info.get('filename') or info.get('frame_dir')
    try:
        # Decoders crash on some damaged files: not in this process.
        if hasattr(os, 'fork'):
            results = ReadingProcess(reading, _SECONDS).read(info)
        else:
            results = read_clip(reading, info)
    except (UnreadableError, RuntimeError) as error:
        print_log(
            f'The crops are not compared with the frames of {path!r}: {error}.',
            logger='current',
            level=logging.WARNING,
        )
        return
    for step in rest:
        if results is None:
            return
        crop = _crop_of(step)
        if crop is not None:
            height, width = results['img_shape']
            if crop[0] > width or crop[1] > height:
                raise ValueError(
                    f'{type(step).__name__} of {crop[0]}x{crop[1]} (width x height) in '
                    f'the pipeline of {type(dataset).__name__} of '
                    f'{getattr(dataset, "ann_file", None)!r} gets frames of '
                    f'{width}x{height} for {path!r}; put dict(type="Resize", '
                    f'scale=(-1, {max(crop)})) before it, or make the crop smaller'
                )
        results = step(results)
