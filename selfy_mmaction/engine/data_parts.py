# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Access to wrapped models, datasets and transforms."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn


def inner_model(model: nn.Module) -> nn.Module:
    """Return the model without wrappers for distribution or test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def inner_datasets(dataset: Any) -> list[Any]:
    """Return the datasets inside of wrappers.

    Wrappers store them as ``dataset`` (``RepeatDataset``, ``ClassBalancedDataset``,
    torch's ``Subset``) or as ``datasets`` (``ConcatDataset``).
    """
    wrapped = getattr(dataset, 'datasets', None)
    if not isinstance(wrapped, Sequence):
        wrapped = [dataset.dataset] if hasattr(dataset, 'dataset') else []
    return [inner for each in wrapped for inner in inner_datasets(each)] or [dataset]


def all_transforms(pipeline: Any) -> Iterator[Any]:
    """Iterate over the transforms of a pipeline in order, including nested ones.

    Args:
        pipeline: A ``Compose``-like object, a list of transforms, or a transform.
    """
    if isinstance(pipeline, (list, tuple)):
        for step in pipeline:
            yield from all_transforms(step)
    elif pipeline is not None:
        yield pipeline
        # Compose, KeyMapper, RandomApply, RandomChoice and others nest transforms.
        yield from all_transforms(getattr(pipeline, 'transforms', None))


def clip_samplers(pipeline: Any) -> list[Any]:
    """Return the transforms with ``clip_len`` and ``num_clips``, like ``SampleFrames``.

    Transforms with one length per modality are omitted.
    """
    return [
        step
        for step in all_transforms(pipeline)
        if isinstance(getattr(step, 'clip_len', None), int)
        and isinstance(getattr(step, 'num_clips', None), int)
    ]
