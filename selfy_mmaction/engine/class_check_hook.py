# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Check that data, model and checkpoint agree on the classes."""

import logging
from collections.abc import Mapping
from typing import Any

from mmaction.registry import HOOKS
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, Runner
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

    Class names are compared, too, in the order of the labels: those of the datasets
    (``metainfo['classes']``), of the head (``class_names`` of ``ClassFileHead``) and of
    the checkpoint, which mmengine copies from the training data. Another order would
    train and test without an error. A training that starts from a checkpoint
    (``load_from``) may have other classes than it; the log shows that.

    Raises:
        ValueError: If they disagree.

    Example:
        >>> from types import SimpleNamespace
        >>> from mmaction.models import TSMHead
        >>> from selfy_mmaction.engine import ClassCheckHook
        >>> custom_hooks = [dict(type='ClassCheckHook')]  # in a config
        >>> model = SimpleNamespace(cls_head=TSMHead(num_classes=174, in_channels=512))
        >>> dataset = SimpleNamespace(ann_file='train.txt', num_classes=175)
        >>> ClassCheckHook().check(model, dataset)  # what it does before training
        Traceback (most recent call last):
            ...
        ValueError: the head has num_classes=174, but ... has num_classes=175; ...
    """

    def __init__(self) -> None:
        super().__init__()
        self._names: list[tuple[str, tuple[str, ...]]] = []

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the class names of the checkpoint."""
        meta = (checkpoint.get('meta') or {}).get('dataset_meta')
        names = _class_names(meta)
        if names is None:
            return
        if isinstance(runner._train_loop, BaseLoop) and not runner._resume:
            data = getattr(runner.train_dataloader, 'dataset', None)
            wanted = _class_names(getattr(data, 'metainfo', None))
            if wanted is not None and wanted != names:
                print_log(
                    f'{runner._load_from} was trained on other classes '
                    f'({_difference(wanted, names)}). The classifier learns the new '
                    'ones.',
                    logger='current',
                )
            return
        self._names.append((f'the checkpoint {runner._load_from or ""}'.strip(), names))

    def check(self, model: nn.Module, dataset: Any) -> None:
        """Compare the head's classes with those of a dataset."""
        head = getattr(model, 'cls_head', None)
        num_classes = getattr(head, 'num_classes', None)
        if not isinstance(num_classes, int):
            return
        kind = type(dataset).__name__
        where = f'{kind} of {getattr(dataset, "ann_file", None)!r}'
        self._check_names(head, dataset, where)
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

    def _check_names(self, head: Any, dataset: Any, where: str) -> None:
        names = _class_names(getattr(dataset, 'metainfo', None))
        if names is None:
            return
        others = list(self._names)
        of_head = getattr(head, 'class_names', None)
        if isinstance(of_head, tuple):
            others.insert(0, ('the head', of_head))
        for other, their_names in others:
            if their_names != names:
                raise ValueError(
                    f'the classes of {where} and of {other} differ: '
                    f'{_difference(names, their_names)}; use the class file that was '
                    'written with the lists (class_file), and a checkpoint that was '
                    'trained with it'
                )
        self._names.append((where, names))


def _class_names(meta: Any) -> tuple[str, ...] | None:
    names = meta.get('classes') if isinstance(meta, Mapping) else None
    if not isinstance(names, list | tuple):
        return None
    return tuple(map(str, names))


def _difference(names: tuple[str, ...], others: tuple[str, ...]) -> str:
    if len(names) != len(others):
        return f'{len(names)} classes here, {len(others)} there'
    label = next(i for i, name in enumerate(names) if name != others[i])
    return f'label {label} is {names[label]!r} here and {others[label]!r} there'


def _highest_label(dataset: Any, num_classes: int) -> int | None:
    """Return the highest class among the labels, or None if there are no labels."""
    if not hasattr(dataset, 'get_data_info'):
        return None
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    labels = (info['label'] for info in infos if info.get('label') is not None)
    present = (find_present_labels(label, num_classes) for label in labels)
    return max((label for classes in present for label in classes), default=None)
