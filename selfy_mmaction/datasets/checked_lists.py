# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Lists of clips that are checked before training starts."""

import re
from collections.abc import Hashable
from typing import Any

from mmengine.fileio import exists

from selfy_mmaction.ops import check_bool, check_int

from .class_names import find_present_labels
from .text_files import read_lines

# Digits of ASCII only: int() also takes those of other scripts, and "1_0".
NUMBER = re.compile('[0-9]{1,9}')


class CheckedList:
    """Mix-in of datasets that refuses a list on which training would be wrong.

    When the dataset is built: lines that cannot be read, labels outside
    ``num_classes``, missing files and clips listed twice are refused, and each
    transform that has a method ``check_annotation(ann_file, labels, num_classes)`` is
    asked. Lists are in UTF-8; a byte order mark, any ends of lines, blanks around
    values and blank lines at the end are accepted.

    Args:
        ann_file: Annotation file.
        args: Arguments of mmaction2's dataset.
        num_classes: Number of classes, at least 1. Default: None, labels are not
            checked against it.
        multi_class: Whether a clip may have several labels; needs ``num_classes``.
            Default: False.
        allow_repeats: Whether a clip may be listed several times with the same label.
            Default: False.
        kwargs: Arguments of mmaction2's dataset.

    Raises:
        FileNotFoundError: The annotation file, or what it lists, is missing.
        ValueError: An option is out of range, a line cannot be read, its label is
            outside the classes, a clip is listed twice, or a transform does not go with
            the annotation.
    """

    prefix_key: str
    """Key of the folder in ``data_prefix``."""

    def __init__(
        self,
        ann_file: str,
        *args,
        num_classes: int | None = None,
        multi_class: bool = False,
        allow_repeats: bool = False,
        **kwargs,
    ) -> None:
        if num_classes is not None:
            check_int('num_classes of the dataset (None: unchecked)', num_classes)
        elif multi_class:
            raise ValueError(
                'multi_class=True needs num_classes, the length of the label vectors'
            )
        self.allow_repeats = check_bool('allow_repeats', allow_repeats)
        super().__init__(
            ann_file,
            *args,
            num_classes=num_classes,
            multi_class=multi_class,
            **kwargs,
        )

    def _copy_without_annotation(self, memo: dict | None = None) -> 'CheckedList':
        # mmengine's default is one dictionary for all copies ever made, by addresses
        # that other objects have by then.
        return super()._copy_without_annotation({} if memo is None else memo)

    def get_cat_ids(self, idx: int) -> list[int]:
        """Classes of a clip, for mmengine's ``ClassBalancedDataset``.

        Args:
            idx: Index of the clip.

        Returns:
            Its labels.
        """
        label = self.get_data_info(idx)['label']
        if not self.multi_class:
            return [label]
        return sorted(find_present_labels(label, self.num_classes))

    def load_data_list(self) -> list[dict[str, Any]]:
        """Load and check the annotation file.

        Returns:
            One dict a clip, with the keys of mmaction2's dataset.
        """
        if self.prefix_key not in self.data_prefix:
            raise ValueError(
                f'data_prefix={self.data_prefix!r} needs the key {self.prefix_key!r}, '
                f"such as dict({self.prefix_key}='data/folder')"
            )
        if not self.ann_file or not exists(self.ann_file):
            raise FileNotFoundError(
                f'annotation file {self.ann_file!r} does not exist; set '
                'ann_file of the dataset to the list that the preparation wrote'
            )
        lines = read_lines(self.ann_file)
        if not lines:
            raise ValueError(
                f'{self.ann_file} is empty; write it again with the preparation'
            )
        data_list = [
            self._parse_line(line.strip(), self._where(line, number))
            for number, line in enumerate(lines, start=1)
        ]
        labels = set().union(*map(self._labels, data_list))
        for transform in self.pipeline.transforms:
            if hasattr(transform, 'check_annotation'):
                transform.check_annotation(self.ann_file, labels, self.num_classes)
        self._check_files(data_list)
        self._check_repeats(data_list, lines)
        return data_list

    def _where(self, line: str, number: int) -> str:
        return f'{self.ann_file}, line {number}: {line!r}'

    def _parse_line(self, line: str, where: str) -> dict[str, Any]:
        """What mmaction2's dataset makes of a line, if it can be read."""
        raise NotImplementedError

    def _check_files(self, data_list: list[dict[str, Any]]) -> None:
        """Refuse clips whose files are missing."""
        raise NotImplementedError

    def _identify(self, info: dict[str, Any]) -> Hashable:
        """What is the same for the same clip, however its path is written."""
        raise NotImplementedError

    def _check_repeats(self, data_list: list[dict[str, Any]], lines: list[str]) -> None:
        first_of = {}
        for index, info in enumerate(data_list):
            first = first_of.setdefault(self._identify(info), index)
            if first == index:
                continue
            both = ' and '.join(self._where(lines[i], i + 1) for i in (first, index))
            if self._labels(data_list[first]) != self._labels(info):
                raise ValueError(
                    f'one clip has two labels: {both}; take the wrong line out, or, if '
                    'both are right, put all labels in one line, with multi_class=True'
                )
            if not self.allow_repeats:
                raise ValueError(
                    f'one clip is listed twice: {both}; take one line out, or, if it '
                    'is to be shown more often, set allow_repeats=True'
                )

    def _labels(self, info: dict[str, Any]) -> set[int]:
        return set(info['label']) if self.multi_class else {info['label']}

    def _parse_labels(
        self, labels: list[str], where: str, hint: str
    ) -> int | list[int]:
        for label in labels:
            if not NUMBER.fullmatch(label):
                raise ValueError(
                    f'{where} cannot be read; the label must be a number from 0, but '
                    f'is {label!r}{hint}'
                )
            if self.num_classes is not None and int(label) >= self.num_classes:
                raise ValueError(
                    f'{where} has label {label}, but num_classes={self.num_classes} '
                    f'allows 0 to {self.num_classes - 1}; correct the list, or '
                    'num_classes of the dataset and of the head'
                )
        numbers = [int(label) for label in labels]
        return numbers if self.multi_class else numbers[0]

    def _has_labels(self, labels: list[str]) -> bool:
        return len(labels) == 1 or (self.multi_class and len(labels) > 1)

    @property
    def _wanted_labels(self) -> str:
        return 'at least one label' if self.multi_class else 'one label'
