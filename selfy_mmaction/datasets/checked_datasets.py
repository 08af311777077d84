# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's data sets with their input checked before training starts."""

import logging
import os
import os.path as osp
from collections.abc import Iterable
from typing import Any

import torch
from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.registry import DATASETS
from mmengine.dataset import Compose
from mmengine.dist import get_rank
from mmengine.fileio import exists, list_from_file
from mmengine.logging import print_log

from .reading import ReadingProcess, UnreadableError, read_clip, split_pipeline

POLICIES = ('fail', 'skip')


class CheckedDataset:
    """What the checked data sets share: mix it in before one of mmaction2's.

    When the data set is built: lines that cannot be read, labels outside
    ``num_classes`` and missing files are refused, and each transform that has a method
    ``check_annotation(ann_file, labels, num_classes)`` is asked.

    While it is read: a clip that cannot be decoded follows ``on_unreadable``. Only
    errors of the transforms that read files count; an error of any other transform is
    raised as it is.

    - ``fail`` names the file and stops.
    - ``skip`` takes the next clip of the list that can be read, warns with the number
      of clips skipped by all workers of this rank so far, and does not try them again.
      Every index gives a clip, so all ranks stay in step. Clips are read in a child
      process, because decoders also end the process or never return. For training
      only: in a test, another clip in place of one would change the figure.

    Args:
        ann_file: Annotation file.
        args: Arguments of mmaction2's data set.
        num_classes: Number of classes. Default: None, labels are not held against it.
        on_unreadable: ``fail`` or ``skip``. Default: fail.
        max_unreadable: Clips that a rank may skip before it gives up. Default: 100.
        reading_timeout: Seconds after which a clip counts as unreadable under ``skip``.
            Default: 60.
        kwargs: Arguments of mmaction2's data set.

    Raises:
        FileNotFoundError: The annotation file, or what it lists, is missing.
        ValueError: A line cannot be read, its label is outside the classes, a transform
            does not go with the annotation, or the policy is unknown or not for tests.
    """

    def __init__(
        self,
        ann_file: str,
        *args,
        num_classes: int | None = None,
        on_unreadable: str = 'fail',
        max_unreadable: int = 100,
        reading_timeout: float = 60,
        **kwargs,
    ) -> None:
        if on_unreadable not in POLICIES:
            raise ValueError(
                f'on_unreadable={on_unreadable!r} is unknown; choose one of {POLICIES}'
            )
        if on_unreadable == 'skip' and not hasattr(os, 'fork'):
            raise ValueError(
                "on_unreadable='skip' needs os.fork, which this system lacks; "
                "set on_unreadable='fail'"
            )
        self.on_unreadable = on_unreadable
        self.max_unreadable = max_unreadable
        self.reading_timeout = reading_timeout
        super().__init__(ann_file, *args, num_classes=num_classes, **kwargs)

    def full_init(self) -> None:
        """Load and check the annotation."""
        if self._fully_initialized:
            return
        super().full_init()
        # In shared memory: all workers of this rank see and count what one has met.
        self._unreadable = torch.zeros(len(self), dtype=torch.bool).share_memory_()
        reading, _ = split_pipeline(self.pipeline.transforms)
        self._process = ReadingProcess(reading, self.reading_timeout)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Load and check the annotation file.

        Returns:
            One dict a clip.
        """
        if self.test_mode and self.on_unreadable == 'skip':
            raise ValueError(
                "on_unreadable='skip' with test_mode=True would test on other clips "
                f"than {self.ann_file!r} lists; set on_unreadable='fail' and complete "
                'the data set, or take the lines out of the list and say so'
            )
        if not exists(self.ann_file):
            raise FileNotFoundError(
                f'annotation file {self.ann_file!r} does not exist; set '
                'ann_file of the data set to the list that the preparation wrote'
            )
        lines = list_from_file(self.ann_file)
        if not lines:
            raise ValueError(
                f'{self.ann_file} is empty; write it again with the preparation'
            )
        labels = set()
        for number, line in enumerate(lines, start=1):
            where = f'{self.ann_file}, line {number}: {line!r}'
            labels.update(self._check_line(line, where))
        for transform in self.pipeline.transforms:
            if hasattr(transform, 'check_annotation'):
                transform.check_annotation(self.ann_file, labels, self.num_classes)
        data_list = super().load_data_list()
        self._check_files(data_list)
        return data_list

    def _check_line(self, line: str, where: str) -> list[int]:
        """Labels of a line that can be read."""
        raise NotImplementedError

    def _check_files(self, data_list: list[dict[str, Any]]) -> None:
        """Refuse clips whose files are missing."""
        raise NotImplementedError

    def _check_labels(self, labels: Iterable[str], where: str) -> list[int]:
        for label in labels:
            if not label.isdecimal():
                raise ValueError(
                    f'{where} cannot be read; the label must be a number from 0, but '
                    f'is {label!r}'
                )
            if self.num_classes is not None and int(label) >= self.num_classes:
                raise ValueError(
                    f'{where} has label {label}, but num_classes={self.num_classes} '
                    f'allows 0 to {self.num_classes - 1}; correct the list, or '
                    'num_classes of the data set and of the head'
                )
        return [int(label) for label in labels]

    def _has_labels(self, labels: list[str]) -> bool:
        return len(labels) == 1 or (self.multi_class and len(labels) > 1)

    @property
    def _wanted_labels(self) -> str:
        return 'at least one label' if self.multi_class else 'one label'

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on a clip.

        Args:
            idx: Index of the clip.

        Returns:
            What the pipeline returns; under ``skip`` perhaps for a later clip.

        Raises:
            RuntimeError: The clip cannot be read, or under ``skip`` too many.
        """
        if type(self.pipeline) is not Compose:  # mmaction2's browse_dataset.py
            return super().prepare_data(idx)
        reading, rest = split_pipeline(self.pipeline.transforms)
        results = self._read(idx, reading)
        for transform in rest:
            results = transform(results)
        return results

    def _read(self, idx: int, reading: list) -> dict[str, Any]:
        if self.on_unreadable == 'fail':
            try:
                return read_clip(reading, self.get_data_info(idx))
            except UnreadableError as error:
                fix = f'replace it or take its line out of {self.ann_file!r}'
                if not self.test_mode:
                    fix += ", or set on_unreadable='skip' to train without it"
                raise RuntimeError(
                    f'video {self._path(idx)!r} could not be read ({error}); if it is '
                    f'damaged, {fix}'
                ) from error
        for step in range(len(self)):
            index = (idx + step) % len(self)
            if self._unreadable[index]:
                continue
            try:
                return self._process.read(self.get_data_info(index))
            except UnreadableError as error:
                self._skip(index, error)
        raise RuntimeError(f'no video of {self.ann_file!r} can be read')

    def _skip(self, idx: int, error: UnreadableError) -> None:
        self._unreadable[idx] = True
        unreadable = self._unreadable.nonzero().flatten().tolist()
        if len(unreadable) > self.max_unreadable:
            first = ', '.join(repr(self._path(i)) for i in unreadable[:5])
            raise RuntimeError(
                f'{len(unreadable)} videos of {self.ann_file!r} could not be read, '
                f'more than max_unreadable={self.max_unreadable}, among them {first}; '
                f'the last error was: {error}'
            ) from error
        print_log(
            f'rank {get_rank()}: video {self._path(idx)!r} could not be read ({error}) '
            'and is skipped, the next in the list takes its place; '
            f'{len(unreadable)} of {len(self)} skipped so far',
            logger='current',
            # Ranks but the first show errors only.
            level=logging.WARNING if get_rank() == 0 else logging.ERROR,
        )

    def _path(self, idx: int) -> str:
        info = self.get_data_info(idx)
        return info.get('filename') or info['frame_dir']


@DATASETS.register_module()
class CheckedVideoDataset(CheckedDataset, VideoDataset):
    """``VideoDataset`` that refuses a list on which training would be wrong.

    The list has one ``path label`` a line. See :class:`CheckedDataset`.
    """

    def _check_line(self, line: str, where: str) -> list[int]:
        path, *labels = line.strip().split(self.delimiter)
        if not path or not self._has_labels(labels):
            raise ValueError(
                f'{where} cannot be read; expected a path and {self._wanted_labels}, '
                f'separated by {self.delimiter!r}'
            )
        return self._check_labels(labels, where)

    def _check_files(self, data_list: list[dict[str, Any]]) -> None:
        paths = [info['filename'] for info in data_list]
        missing = [path for path in paths if '://' not in path and not osp.isfile(path)]
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} of the {len(paths)} videos in {self.ann_file!r} do '
                f'not exist, the first is {missing[0]!r}; check '
                "data_prefix=dict(video=...) or complete the data set's folder"
            )


@DATASETS.register_module()
class CheckedRawframeDataset(CheckedDataset, RawframeDataset):
    """``RawframeDataset`` that refuses a list on which training would be wrong.

    The list has one ``folder frames label`` a line, or with ``with_offset`` one
    ``folder offset frames label``. Of each clip the last frame must be there: that
    finds missing folders, names of another form and incomplete extractions. See
    :class:`CheckedDataset`.
    """

    def _check_line(self, line: str, where: str) -> list[int]:
        columns = ['folder', 'offset', 'number of frames']
        if not self.with_offset:
            columns.remove('offset')
        values = line.split()
        numbers, labels = values[1 : len(columns)], values[len(columns) :]
        if not self._has_labels(labels) or not all(n.isdecimal() for n in numbers):
            raise ValueError(
                f'{where} cannot be read; expected {", ".join(columns)} and '
                f'{self._wanted_labels}, separated by spaces'
            )
        if int(numbers[-1]) < 1:
            raise ValueError(
                f'{where} has {numbers[-1]} frames, expected at least 1; extract the '
                'frames again or take the line out'
            )
        return self._check_labels(labels, where)

    def _check_files(self, data_list: list[dict[str, Any]]) -> None:
        missing = []
        for info in data_list:
            path = info['frame_dir']
            if self.modality == 'RGB':  # names of other modalities take more values
                last = info['total_frames'] - 1 + self.start_index
                name = self.filename_tmpl.format(last + info.get('offset', 0))
                path = osp.join(path, name)
            if '://' not in path and not osp.exists(path):
                missing.append((info['frame_dir'], path))
        if missing:
            folder, path = missing[0]
            what = 'frame' if osp.isdir(folder) else 'folder of'
            raise FileNotFoundError(
                f'{len(missing)} of the {len(data_list)} videos in {self.ann_file!r} '
                f'lack their folder or their last frame, the first is {what} {path!r}; '
                'check data_prefix=dict(img=...), filename_tmpl and the numbers of '
                "frames, or complete the data set's folder"
            )
