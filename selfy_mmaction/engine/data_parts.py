# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What is inside of wrappers: models, datasets, and steps of pipelines."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn


def inner_model(model: nn.Module) -> nn.Module:
    """A runner's model without what distributes it or averages its test views."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def inner_datasets(dataset: Any) -> list[Any]:
    """The datasets that read the clips, whatever wraps them.

    Wrappers keep what they wrap in ``dataset`` (``RepeatDataset``,
    ``ClassBalancedDataset``, torch's ``Subset``) or in ``datasets``
    (``ConcatDataset``).
    """
    wrapped = getattr(dataset, 'datasets', None)
    if not isinstance(wrapped, Sequence):
        wrapped = [dataset.dataset] if hasattr(dataset, 'dataset') else []
    return [inner for each in wrapped for inner in inner_datasets(each)] or [dataset]


def all_transforms(pipeline: Any) -> Iterator[Any]:
    """Steps of a pipeline in order, and of the steps that wrap others.

    Args:
        pipeline: ``Compose`` or the like, a list of steps, or a step.
    """
    if isinstance(pipeline, (list, tuple)):
        for step in pipeline:
            yield from all_transforms(step)
    elif pipeline is not None:
        yield pipeline
        # Of Compose, KeyMapper, RandomApply, RandomChoice and the like.
        yield from all_transforms(getattr(pipeline, 'transforms', None))


def clip_samplers(pipeline: Any) -> list[Any]:
    """Steps with ``clip_len`` and ``num_clips``, as ``SampleFrames`` has them.

    Those with a length for each of several modalities are left out.
    """
    return [
        step
        for step in all_transforms(pipeline)
        if isinstance(getattr(step, 'clip_len', None), int)
        and isinstance(getattr(step, 'num_clips', None), int)
    ]
