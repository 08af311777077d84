# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Horizontal flip that keeps "left" and "right" correct (supplement A)."""

from collections.abc import Collection
from typing import Any

from mmaction.datasets.transforms import Flip
from mmaction.registry import TRANSFORMS

from selfy_mmaction.datasets.class_names import (
    check_fingerprint,
    find_present_labels,
    labels_with_direction,
)
from selfy_mmaction.text_files import read_class_names


@TRANSFORMS.register_module()
class SelectiveFlip(Flip):
    r"""Flip clips at random unless their class name contains "left" or "right".

    The supplement does not flip such clips; mmaction2's ``flip_label_map`` flips them
    and swaps their labels. Classes are selected by name, as whole words, because label
    numbers differ between lists of the same dataset. Our checked datasets call
    :meth:`check_annotation` to compare the names with the annotation file.

    Args:
        class_names: File with one class name per line, in the order of the labels.
        flip_ratio: Probability of a flip. Default: 0.5.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If a name is empty or appears twice.

    Attributes:
        kept_labels: Labels of the classes that are not flipped.
        num_classes: Number of class names.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from selfy_mmaction.datasets import SelectiveFlip
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, 'classes.txt')
        ...     _ = path.write_text('Holding a cup\nPulling a cup from left to right')
        ...     flip = SelectiveFlip(class_names=str(path), flip_ratio=0.5)
        >>> sorted(flip.kept_labels)
        [1]
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
        """Check that the class names match an annotation file.

        The number of classes must match. If our tools wrote a
        ``preparation.json`` to the same folder, the fingerprint must match, too.

        Args:
            ann_file: Path of the annotation file.
            labels: Labels in the annotation file.
            num_classes: Number of classes of the dataset, None if unknown.

        Raises:
            ValueError: If the class names do not match.
        """
        count = self.num_classes
        fix = 'set class_names to the file that was written with the list'
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
        check_fingerprint(self.class_names, self._names, ann_file)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Flip ``imgs`` at random unless ``label`` has one of ``kept_labels``.

        Raises:
            ValueError: If ``label`` has no form that :func:`find_present_labels`
                accepts.
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
