# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Annotation files that are checked before training starts."""

import logging
import os.path as osp
import re
from collections.abc import Hashable
from typing import Any

from mmengine.fileio import exists
from mmengine.logging import print_log

from selfy_mmaction.ops import check_bool, check_int
from selfy_mmaction.text_files import read_class_names, read_lines

from .class_names import check_fingerprint, find_present_labels

# ASCII digits only: int() also accepts digits of other scripts, and "1_0".
NUMBER = re.compile('[0-9]{1,9}')


class CheckedList:
    """Dataset mix-in that rejects faulty annotation files.

    When the dataset is built, it rejects malformed lines, labels outside
    ``num_classes``, missing files and videos listed twice. It also calls
    ``check_annotation(ann_file, labels, num_classes)`` of each transform that has this
    method. Files must be in UTF-8; a byte order mark, any line endings, spaces around
    values and blank lines at the end are accepted.

    Args:
        ann_file: Path of the annotation file.
        args: Arguments of mmaction2's dataset.
        num_classes: Number of classes, at least 1. Default: None, which is the number
            of names in ``class_file``; without one, the range of the labels is not
            checked.
        class_file: File with one class name per line, in the order of the labels. Its
            names are ``metainfo['classes']``, which mmengine stores in checkpoints. A
            warning names classes without a clip in a training list. Default: None.
        multi_class: Whether a video may have several labels; needs ``num_classes`` or
            ``class_file``. Default: False.
        allow_repeats: Whether a video may be listed several times with the same label.
            Default: False.
        kwargs: Arguments of mmaction2's dataset.

    Raises:
        FileNotFoundError: If the annotation file, the class file or a listed file is
            missing.
        ValueError: If an option is out of range, the class file and ``num_classes``
            disagree or the class file belongs to another list, a line is malformed, a
            label is outside the classes, a video is listed twice, or a transform
            rejects the annotation file.
    """

    prefix_key: str
    """Key of ``data_prefix`` that holds the root folder."""

    def __init__(
        self,
        ann_file: str,
        *args,
        num_classes: int | None = None,
        class_file: str | None = None,
        multi_class: bool = False,
        allow_repeats: bool = False,
        **kwargs,
    ) -> None:
        self.class_file = class_file
        if class_file is not None:
            names = read_class_names(class_file)
            if num_classes not in (None, len(names)):
                raise ValueError(
                    f'{class_file} has {len(names)} class names, but the dataset of '
                    f'{ann_file} has num_classes={num_classes}; omit num_classes, or '
                    'correct one of them'
                )
            num_classes = len(names)
            kwargs['metainfo'] = {
                **(kwargs.get('metainfo') or {}),
                'classes': tuple(names),
            }
        if num_classes is not None:
            check_int(
                'num_classes of the dataset (None: unchecked)', num_classes, most=10**9
            )
        elif multi_class:
            raise ValueError(
                'multi_class=True needs num_classes (or class_file), the length of the '
                'label vectors'
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
        # mmengine's default memo is shared by all copies ever made. It is keyed by id,
        # and ids of deleted objects are reused.
        return super()._copy_without_annotation({} if memo is None else memo)

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the classes of a video, for mmengine's ``ClassBalancedDataset``."""
        label = self.get_data_info(idx)['label']
        if not self.multi_class:
            return [label]
        return sorted(find_present_labels(label, self.num_classes))

    def load_data_list(self) -> list[dict[str, Any]]:
        """Load and check the annotation file.

        Returns:
            One dict per line, with the keys of mmaction2's dataset.
        """
        if self.prefix_key not in self.data_prefix:
            raise ValueError(
                f'data_prefix={self.data_prefix!r} needs the key {self.prefix_key!r}, '
                f"such as dict({self.prefix_key}='data/folder')"
            )
        if not self.ann_file or not exists(self.ann_file):
            raise FileNotFoundError(
                f'annotation file {self.ann_file!r} does not exist; set ann_file of '
                'the dataset to a list written by tools/data/own_videos.py or '
                'tools/data/prepare.py'
            )
        lines = read_lines(self.ann_file)
        if not lines:
            raise ValueError(
                f'{self.ann_file} is empty; write it again with '
                'tools/data/own_videos.py or tools/data/prepare.py'
            )
        data_list = [
            self._parse_line(line.strip(), self._where(line, number))
            for number, line in enumerate(lines, start=1)
        ]
        labels = set().union(*map(self._labels, data_list))
        if self.class_file is not None:
            self._check_classes(labels)
        for transform in self.pipeline.transforms:
            if hasattr(transform, 'check_annotation'):
                transform.check_annotation(self.ann_file, labels, self.num_classes)
        self._check_files(data_list)
        self._check_repeats(data_list, lines)
        return data_list

    def _check_classes(self, labels: set[int]) -> None:
        names = self.metainfo['classes']
        check_fingerprint(self.class_file, names, self.ann_file)
        absent = [name for label, name in enumerate(names) if label not in labels]
        if absent and not self.test_mode:
            shown = ', '.join(map(repr, absent[:5])) + ', ...' * (len(absent) > 5)
            print_log(
                f'{self.ann_file} has no clip of {len(absent)} of the {len(names)} '
                f'classes in {self.class_file}: {shown}. A network cannot learn them; '
                'add clips, or write list and class file again without these classes.',
                logger='current',
                level=logging.WARNING,
            )

    def _where(self, line: str, number: int) -> str:
        return f'{self.ann_file}, line {number}: {line!r}'

    def _parse_line(self, line: str, where: str) -> dict[str, Any]:
        """Parse a line into the dict that mmaction2's dataset expects."""
        raise NotImplementedError

    def _check_files(self, data_list: list[dict[str, Any]]) -> None:
        """Reject videos whose files are missing."""
        raise NotImplementedError

    def _identify(self, info: dict[str, Any]) -> Hashable:
        """Return a key that is equal for all spellings of a video's path."""
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
                    f'a video has two labels: {both}; remove the wrong line, or, if '
                    'both are right, put all labels on one line and set '
                    'multi_class=True'
                )
            if not self.allow_repeats:
                raise ValueError(
                    f'a video is listed twice: {both}; remove one line, or, if the '
                    'repetition is intended, set allow_repeats=True'
                )

    def _labels(self, info: dict[str, Any]) -> set[int]:
        return set(info['label']) if self.multi_class else {info['label']}

    def _parse_labels(
        self, labels: list[str], where: str, hint: str
    ) -> int | list[int]:
        for label in labels:
            if not NUMBER.fullmatch(label):
                raise ValueError(
                    f'{where} cannot be read; expected an integer label from 0, got '
                    f'{label!r}{hint}'
                )
            if self.num_classes is not None and int(label) >= self.num_classes:
                allowed = f'0 to {self.num_classes - 1}'
                if self.class_file is not None:
                    raise ValueError(
                        f'{where} has label {label}, but {self.class_file} has '
                        f'{self.num_classes} class names, for labels {allowed}; write '
                        'both again (tools/data/own_videos.py), or correct one of them'
                    )
                raise ValueError(
                    f'{where} has label {label}, but num_classes={self.num_classes} '
                    f'allows {allowed}; correct the list, or num_classes of the '
                    'dataset and of the head'
                )
        numbers = [int(label) for label in labels]
        return numbers if self.multi_class else numbers[0]

    def _has_labels(self, labels: list[str]) -> bool:
        return len(labels) == 1 or (self.multi_class and len(labels) > 1)

    def _below_prefix(self, path: str) -> str:
        prefix = self.data_prefix[self.prefix_key]
        return path if prefix is None else osp.join(prefix, path)

    @property
    def _wanted_labels(self) -> str:
        return 'at least one label' if self.multi_class else 'one label'
