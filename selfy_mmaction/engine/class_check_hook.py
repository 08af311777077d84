# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Check that data and model agree on the number of classes."""

import logging
from typing import Any

from mmaction.registry import HOOKS
from mmengine.logging import print_log
from torch import nn

from selfy_mmaction.datasets.class_names import find_present_labels

from .data_check_hook import DataCheckHook
from .data_parts import all_transforms


@HOOKS.register_module()
class ClassCheckHook(DataCheckHook):
    """Compare ``num_classes`` of the head with the datasets and their class names.

    A head with too few classes fails in the loss of a later batch; one with too many
    trains without an error. If a dataset has no ``num_classes``, its labels are
    compared: a label outside the head's classes is an error, and a warning shows if the
    highest label is not the head's last class.

    Raises:
        ValueError: If they disagree.
    """

    def check(self, model: nn.Module, dataset: Any) -> None:
        """Compare the head's classes with those of a dataset."""
        num_classes = getattr(getattr(model, 'cls_head', None), 'num_classes', None)
        if not isinstance(num_classes, int):
            return
        kind = type(dataset).__name__
        where = f'{kind} of {getattr(dataset, "ann_file", None)!r}'
        fix = 'set num_classes of the head and of every dataset to the same number'
        for step in all_transforms(getattr(dataset, 'pipeline', None)):
            count = getattr(step, 'num_classes', None)
            if isinstance(count, int) and count != num_classes:
                raise ValueError(
                    f'the head has num_classes={num_classes}, but '
                    f'{type(step).__name__} in the pipeline of {where} has {count} '
                    'class names; correct one of them'
                )
        of_data = getattr(dataset, 'num_classes', None)
        if of_data is not None:
            if of_data != num_classes:
                raise ValueError(
                    f'the head has num_classes={num_classes}, but {where} has '
                    f'num_classes={of_data}; {fix}'
                )
            return
        try:
            highest = _highest_label(dataset, num_classes)
        except ValueError as error:
            raise ValueError(
                f'the head has num_classes={num_classes}, but in {where} the {error}; '
                f'{fix}'
            ) from error
        if highest is None:
            print_log(
                f'{where} has neither num_classes nor labels to compare with the '
                f"head's num_classes={num_classes}.",
                logger='current',
                level=logging.WARNING,
            )
        elif highest < num_classes - 1:
            print_log(
                f'The head has num_classes={num_classes}, but the highest label in '
                f'{where} is {highest}; if these are all classes, {fix}.',
                logger='current',
                level=logging.WARNING,
            )


def _highest_label(dataset: Any, num_classes: int) -> int | None:
    """Return the highest class among the labels, or None if there are no labels."""
    if not hasattr(dataset, 'get_data_info'):
        return None
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    labels = (info['label'] for info in infos if info.get('label') is not None)
    present = (find_present_labels(label, num_classes) for label in labels)
    return max((label for classes in present for label in classes), default=None)
