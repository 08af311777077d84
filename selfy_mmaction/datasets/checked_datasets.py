# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's datasets with their input checked before training starts."""

import logging
import os
import os.path as osp
import threading
from collections.abc import Hashable, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.registry import DATASETS
from mmengine.dataset import Compose
from mmengine.dist import get_rank
from mmengine.fileio import exists
from mmengine.logging import print_log

from .class_names import find_present_labels
from .reading import ReadingProcess, UnreadableError, read_clip, split_pipeline
from .text_files import read_lines

POLICIES = ('fail', 'skip')


class CheckedDataset:
    """What the checked datasets share: mix it in before one of mmaction2's.

    When the dataset is built: lines that cannot be read, labels outside
    ``num_classes``, missing files and clips listed twice are refused, and each
    transform that has a method ``check_annotation(ann_file, labels, num_classes)`` is
    asked. Lists are in UTF-8; a byte order mark, any ends of lines, blanks around
    values and blank lines at the end are accepted.

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
        args: Arguments of mmaction2's dataset.
        num_classes: Number of classes, at least 1. Default: None, labels are not held
            against it.
        multi_class: Whether a clip may have several labels; needs ``num_classes``.
            Default: False.
        allow_repeats: Whether a clip may be listed several times with the same label.
            Default: False.
        on_unreadable: ``fail`` or ``skip``. Default: fail.
        max_unreadable: Clips that a rank may skip before it gives up. Default: 100.
        reading_timeout: Seconds above 0 after which a clip counts as unreadable under
            ``skip``. Default: 60.
        kwargs: Arguments of mmaction2's dataset.

    Raises:
        FileNotFoundError: The annotation file, or what it lists, is missing.
        ValueError: An option is out of range, a line cannot be read, its label is
            outside the classes, a clip is listed twice, a transform does not go with
            the annotation, or the policy is unknown or not for tests.
    """

    def __init__(
        self,
        ann_file: str,
        *args,
        num_classes: int | None = None,
        multi_class: bool = False,
        allow_repeats: bool = False,
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
        if num_classes is not None and not _is_whole(num_classes, at_least=1):
            raise ValueError(
                f'num_classes={num_classes!r} of the dataset must be an integer of at '
                'least 1, or None to leave labels unchecked'
            )
        if multi_class and num_classes is None:
            raise ValueError(
                'multi_class=True needs num_classes, the length of the label vectors'
            )
        if not _is_whole(max_unreadable, at_least=0):
            raise ValueError(
                f'max_unreadable={max_unreadable!r} must be an integer of at least 0: '
                'the number of clips that a rank may skip'
            )
        if (
            isinstance(reading_timeout, bool)
            or not isinstance(reading_timeout, Real)
            or not 0 < reading_timeout <= threading.TIMEOUT_MAX
        ):
            raise ValueError(
                f'reading_timeout={reading_timeout!r} must be a number of seconds '
                f'above 0, at most {threading.TIMEOUT_MAX:g}'
            )
        if not isinstance(allow_repeats, bool):
            raise ValueError(
                f'allow_repeats must be True or False, but got {allow_repeats!r}'
            )
        self.allow_repeats = allow_repeats
        self.on_unreadable = on_unreadable
        self.max_unreadable = max_unreadable
        self.reading_timeout = reading_timeout
        super().__init__(
            ann_file,
            *args,
            num_classes=num_classes,
            multi_class=multi_class,
            **kwargs,
        )

    prefix_key: str
    """Key of the folder in ``data_prefix``."""

    _process: ReadingProcess | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if '_unreadable' in state and not self._unreadable.is_shared():
            self._unreadable.share_memory_()

    def full_init(self) -> None:
        """Load and check the annotation."""
        if self._fully_initialized:
            return
        super().full_init()
        self._set_unreadable(torch.zeros(len(self), dtype=torch.bool))

    def _set_unreadable(self, unreadable: torch.Tensor) -> None:
        # In shared memory: all workers of this rank see and count what one has met.
        self._unreadable = unreadable.clone().share_memory_()

    def _copy_without_annotation(self, memo: dict | None = None) -> 'CheckedDataset':
        # mmengine's default is one dictionary for all copies ever made, by addresses
        # that other objects have by then.
        return super()._copy_without_annotation({} if memo is None else memo)

    def get_subset_(self, indices: Sequence[int] | int) -> None:
        """Keep only some clips; see mmengine's ``BaseDataset``.

        Args:
            indices: Their indices, or how many of the first (above 0) or last.
        """
        super().get_subset_(indices)
        self._set_unreadable(_take(self._unreadable, indices))

    def get_subset(self, indices: Sequence[int] | int) -> 'CheckedDataset':
        """A dataset of some of the clips; see mmengine's ``BaseDataset``.

        Args:
            indices: Their indices, or how many of the first (above 0) or last.

        Returns:
            The dataset.
        """
        subset = super().get_subset(indices)
        subset._set_unreadable(_take(self._unreadable, indices))
        return subset

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
        if self.test_mode and self.on_unreadable == 'skip':
            raise ValueError(
                "on_unreadable='skip' with test_mode=True would test on other clips "
                f"than {self.ann_file!r} lists; set on_unreadable='fail' and complete "
                'the dataset, or take the lines out of the list and say so'
            )
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
            if not (label.isascii() and label.isdecimal() and len(label) < 10):
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

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on a clip.

        Args:
            idx: Index of the clip.

        Returns:
            What the pipeline returns; under ``skip`` perhaps for a later clip.

        Raises:
            IndexError: There is no such clip.
            RuntimeError: The clip cannot be read, or under ``skip`` too many.
        """
        if not -len(self) <= idx < len(self):
            raise IndexError(f'clip {idx} of a dataset of {len(self)} does not exist')
        if type(self.pipeline) is not Compose:  # mmaction2's browse_dataset.py
            return super().prepare_data(idx)
        reading, rest = split_pipeline(self.pipeline.transforms)
        results = self._read(idx, reading)
        for transform in rest:
            if results is None:  # another clip is taken, as with mmengine's Compose
                return None
            results = transform(results)
        return results

    def _read(self, idx: int, reading: list) -> dict[str, Any] | None:
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
        if self._process is None or self._process.transforms != reading:
            self._process = ReadingProcess(reading, self.reading_timeout)
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


def _is_whole(value: Any, at_least: int) -> bool:
    return (
        isinstance(value, Integral)
        and not isinstance(value, bool)
        and value >= at_least
    )


def _take(values: torch.Tensor, indices: Sequence[int] | int) -> torch.Tensor:
    if isinstance(indices, int):
        return values[:indices] if indices >= 0 else values[indices:]
    return values[list(indices)]


def _identify_file(path: str) -> Hashable:
    """The file itself where the system tells, so that other spellings are the same."""
    try:
        status = os.stat(path)
    except OSError:  # in another place than on disk
        return path
    return (status.st_dev, status.st_ino) if status.st_ino else osp.realpath(path)


@DATASETS.register_module()
class CheckedVideoDataset(CheckedDataset, VideoDataset):
    """``VideoDataset`` that refuses a list on which training would be wrong.

    The list has one ``path label`` a line, separated by ``delimiter``. See
    :class:`CheckedDataset`.
    """

    prefix_key = 'video'

    def _parse_line(self, line: str, where: str) -> dict[str, Any]:
        hint = ''
        if len(line.split()) > 2 and self.delimiter == ' ':
            hint = (
                '; if the path has a blank in it, rename the file, or separate the '
                "values by another character and name it, such as delimiter=','"
            )
        elif len(line.split()) < 2 and ',' in line and self.delimiter == ' ':
            hint = "; if a comma separates the values, set delimiter=','"
        if self.delimiter == ' ':
            path, *labels = line.split() or ['']
        else:
            path, *labels = (value.strip() for value in line.split(self.delimiter))
        if not path or not self._has_labels(labels):
            raise ValueError(
                f'{where} cannot be read; expected a path and {self._wanted_labels}, '
                f'separated by {self.delimiter!r}{hint}'
            )
        prefix = self.data_prefix['video']
        return dict(
            filename=path if prefix is None else osp.join(prefix, path),
            label=self._parse_labels(labels, where, hint),
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """Load and check the annotation file.

        Returns:
            One dict a clip, with the keys of mmaction2's dataset.
        """
        if not isinstance(self.delimiter, str) or not self.delimiter:
            raise ValueError(
                f'delimiter={self.delimiter!r} must be the characters between the path '
                "and the label, such as ' ' or ','"
            )
        return super().load_data_list()

    def _check_files(self, data_list: list[dict[str, Any]]) -> None:
        paths = [info['filename'] for info in data_list]
        missing = [path for path in paths if '://' not in path and not osp.isfile(path)]
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} of the {len(paths)} videos in {self.ann_file!r} do '
                f'not exist, the first is {missing[0]!r}; check '
                "data_prefix=dict(video=...) or complete the dataset's folder"
            )

    def _identify(self, info: dict[str, Any]) -> Hashable:
        return _identify_file(info['filename'])


@DATASETS.register_module()
class CheckedRawframeDataset(CheckedDataset, RawframeDataset):
    """``RawframeDataset`` that refuses a list on which training would be wrong.

    The list has one ``folder frames label`` a line, or with ``with_offset`` one
    ``folder offset frames label``, separated by spaces. Of each clip the last frame
    must be there and, without offsets, must be the last one: that finds missing
    folders, names of another form, incomplete extractions and wrong numbers. With
    offsets, a folder may be listed with several clips. See :class:`CheckedDataset`.
    """

    prefix_key = 'img'

    def _parse_line(self, line: str, where: str) -> dict[str, Any]:
        columns = ['folder', 'offset', 'number of frames']
        if not self.with_offset:
            columns.remove('offset')
        values = line.split()
        hint = ''
        if len(values) > len(columns) + 1:
            hint = '; if the name of the folder has a blank in it, rename it'
        numbers, labels = values[1 : len(columns)], values[len(columns) :]
        if not self._has_labels(labels) or not all(
            number.isascii() and number.isdecimal() and len(number) < 10
            for number in numbers
        ):
            raise ValueError(
                f'{where} cannot be read; expected {", ".join(columns)} and '
                f'{self._wanted_labels}, separated by spaces{hint}'
            )
        if int(numbers[-1]) < 1:
            raise ValueError(
                f'{where} has {numbers[-1]} frames, expected at least 1; extract the '
                'frames again or take the line out'
            )
        prefix = self.data_prefix['img']
        info = dict(
            frame_dir=values[0] if prefix is None else osp.join(prefix, values[0])
        )
        if self.with_offset:
            info['offset'] = int(numbers[0])
        info['total_frames'] = int(numbers[-1])
        info['label'] = self._parse_labels(labels, where, hint)
        return info

    def _check_files(self, data_list: list[dict[str, Any]]) -> None:
        is_rgb = self.modality == 'RGB'  # names of other modalities take more values
        if is_rgb and len(self._first_names()) < 2:
            raise ValueError(
                f'filename_tmpl={self.filename_tmpl!r} does not name a frame by its '
                "number, as 'img_{:05}.jpg' does"
            )
        missing = []
        for info in data_list:
            path = info['frame_dir']
            if is_rgb:
                path = self._frame(info, info['total_frames'] - 1)
            if '://' not in path and not osp.exists(path):
                missing.append((info['frame_dir'], path))
        if missing:
            folder, path = missing[0]
            what = 'frame' if osp.isdir(folder) else 'folder of'
            raise FileNotFoundError(
                f'{len(missing)} of the {len(data_list)} videos in {self.ann_file!r} '
                f'lack their folder or their last frame, the first is {what} {path!r}; '
                'check data_prefix=dict(img=...), filename_tmpl and the numbers of '
                "frames, or complete the dataset's folder"
            )
        if self.with_offset or not is_rgb:
            return
        longer = [
            info
            for info in data_list
            if osp.exists(self._frame(info, info['total_frames']))
        ]
        if longer:
            raise ValueError(
                f'{len(longer)} of the {len(data_list)} videos in {self.ann_file!r} '
                'have more frames than it says, the first is '
                f'{longer[0]["frame_dir"]!r} with more than '
                f'{longer[0]["total_frames"]}; correct the numbers of frames, or, if '
                'only these are meant, list them with offsets and set with_offset=True'
            )

    def _first_names(self) -> set[str]:
        try:
            return {self.filename_tmpl.format(number) for number in (0, 1)}
        except (AttributeError, IndexError, KeyError, ValueError):
            return set()

    def _frame(self, info: dict[str, Any], index: int) -> str:
        number = index + self.start_index + info.get('offset', 0)
        return osp.join(info['frame_dir'], self.filename_tmpl.format(number))

    def _identify(self, info: dict[str, Any]) -> Hashable:
        folder = _identify_file(info['frame_dir'])
        if not self.with_offset:
            return folder
        return folder, info['offset'], info['total_frames']
