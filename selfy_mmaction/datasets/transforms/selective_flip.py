# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Horizontal flip that keeps directions of motion true (supplement A)."""

import os.path as osp
from collections.abc import Collection
from typing import Any

from mmaction.datasets.transforms import Flip
from mmaction.registry import TRANSFORMS
from mmengine.fileio import exists, load

from selfy_mmaction.datasets.class_names import (
    find_present_labels,
    fingerprint_class_names,
    labels_with_direction,
    read_class_names,
)


@TRANSFORMS.register_module()
class SelectiveFlip(Flip):
    """Flip at random, except clips whose class name holds "left" or "right".

    The supplement does not flip such clips; mmaction2's ``flip_label_map`` flips them
    and swaps their labels. The classes are found by name, not by number, because the
    numbers differ between lists of the same dataset, and only whole words count. Our
    checked datasets compare the file with their annotation by :meth:`check_annotation`.

    Args:
        class_names: File with one class name per line, in the order of the labels.
        flip_ratio: Probability of a flip. Default: 0.5.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: A name is empty or appears twice.

    Attributes:
        kept_labels: Labels of the classes that are not flipped.
        num_classes: Number of class names.
    """

    def __init__(self, class_names: str, flip_ratio: float = 0.5) -> None:
        super().__init__(flip_ratio=flip_ratio)
        self.class_names = class_names
        self._names = read_class_names(class_names)
        self.num_classes = len(self._names)
        self.kept_labels = labels_with_direction(self._names)

    def check_annotation(
        self, ann_file: str, labels: Collection[int], num_classes: int | None
    ) -> None:
        """Refuse an annotation that the class names do not belong to.

        Their number is compared, and where a ``preparation.json`` of
        ``tools/data/prepare.py`` lies beside the annotation, their fingerprint too.

        Args:
            ann_file: Annotation file.
            labels: Labels in it.
            num_classes: Number of classes of the dataset, None if it does not know.

        Raises:
            ValueError: They do not go together.
        """
        count = self.num_classes
        fix = 'set class_names to the file that the preparation wrote with the list'
        if num_classes is not None and count != num_classes:
            raise ValueError(
                f'{self.class_names} has {count} class names, but the dataset of '
                f'{ann_file} has num_classes={num_classes}; {fix}, or correct '
                'num_classes'
            )
        if labels and max(labels) >= count:
            raise ValueError(
                f'{ann_file} has label {max(labels)}, but {self.class_names} has only '
                f'{count} class names, for labels 0 to {count - 1}; {fix}'
            )
        preparation = osp.join(osp.dirname(ann_file), 'preparation.json')
        if not exists(preparation):
            return
        wanted = load(preparation).get('class_fingerprint')
        found = fingerprint_class_names(self._names)
        if isinstance(wanted, str) and found != wanted:
            raise ValueError(
                f'{self.class_names} has fingerprint {found}, but {preparation} says '
                f'that {ann_file} was written for {wanted}: the classes are others or '
                f'in another order; {fix}'
            )

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Flip ``imgs``, unless a class of ``label`` has a direction.

        Raises:
            ValueError: The label has no form of :func:`find_present_labels`.
        """
        labels = find_present_labels(results['label'], self.num_classes)
        if labels & self.kept_labels:
            return results
        return super().transform(results)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(class_names={self.class_names!r}, '
            f'flip_ratio={self.flip_ratio}, kept_labels={sorted(self.kept_labels)})'
        )
