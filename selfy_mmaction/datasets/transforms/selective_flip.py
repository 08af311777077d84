# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Horizontal flip that keeps directions of motion true (supplement A)."""

from typing import Any

from mmaction.datasets.transforms import Flip
from mmaction.registry import TRANSFORMS

from ..class_names import labels_with_direction, read_class_names


@TRANSFORMS.register_module()
class SelectiveFlip(Flip):
    """Flip at random, except clips whose class name holds "left" or "right".

    The supplement does not flip such clips; mmaction2's ``flip_label_map`` flips them
    and swaps their labels. The classes are found by name, not by number, because the
    numbers differ between lists of the same data set, and only whole words count.

    Args:
        class_names: File with one class name a line, in the order of the labels.
        flip_ratio: Probability of a flip. Default: 0.5.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: A name is empty or appears twice.

    Attributes:
        kept_labels: Labels of the classes that are not flipped.
    """

    def __init__(self, class_names: str, flip_ratio: float = 0.5) -> None:
        super().__init__(flip_ratio=flip_ratio)
        self.class_names = class_names
        self.kept_labels = labels_with_direction(read_class_names(class_names))

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Flip the frames of a clip, or leave them.

        Args:
            results: Needs ``imgs`` and ``label``.

        Returns:
            The results.
        """
        if results['label'] in self.kept_labels:
            return results
        return super().transform(results)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(class_names={self.class_names!r}, '
            f'flip_ratio={self.flip_ratio}, kept_labels={sorted(self.kept_labels)})'
        )
