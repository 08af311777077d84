# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's video and raw-frame datasets with checked annotation files."""

import os
import os.path as osp
from collections.abc import Hashable
from typing import Any

from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.registry import DATASETS

from .checked_lists import NUMBER, CheckedList
from .unreadable_clips import UnreadableClips


def _identify_file(path: str) -> Hashable:
    """Return a key that is equal for all paths to the same file."""
    try:
        status = os.stat(path)
    except OSError:  # missing, or on remote storage
        return path
    return (status.st_dev, status.st_ino) if status.st_ino else osp.realpath(path)


@DATASETS.register_module()
class CheckedVideoDataset(CheckedList, UnreadableClips, VideoDataset):
    """``VideoDataset`` that rejects faulty annotation files.

    Each line is ``path label``, separated by ``delimiter``. See :class:`CheckedList`
    and :class:`UnreadableClips` for the options.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from mmaction.registry import DATASETS
        >>> from selfy_mmaction.checkpoints import SAMPLE_CLIP
        >>> config = dict(type='CheckedVideoDataset', num_classes=2, pipeline=[])
        >>> config['data_prefix'] = dict(video=str(SAMPLE_CLIP.parent))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, 'train.txt')
        ...     _ = path.write_text('sample.mp4 1')
        ...     dataset = DATASETS.build(dict(config, ann_file=str(path)))
        >>> len(dataset), dataset[0]['label']
        (1, 1)
    """

    prefix_key = 'video'

    def _parse_line(self, line: str, where: str) -> dict[str, Any]:
        if not isinstance(self.delimiter, str) or not self.delimiter:
            raise ValueError(
                f'delimiter={self.delimiter!r} must be the characters between path and '
                "label, such as ' ' or ','"
            )
        hint = ''
        if len(line.split()) > 2 and self.delimiter == ' ':
            hint = (
                '; if the path contains a space, rename the file, or use another '
                "separator and set it, such as delimiter=','"
            )
        elif len(line.split()) < 2 and ',' in line and self.delimiter == ' ':
            hint = "; if the values are separated by commas, set delimiter=','"
        if self.delimiter == ' ':
            path, *labels = line.split() or ['']
        else:
            path, *labels = (value.strip() for value in line.split(self.delimiter))
        if not path or not self._has_labels(labels):
            raise ValueError(
                f'{where} cannot be read; expected a path and {self._wanted_labels}, '
                f'separated by {self.delimiter!r}{hint}'
            )
        return dict(
            filename=self._below_prefix(path),
            label=self._parse_labels(labels, where, hint),
        )

    def _check_files(self, data_list: list[dict[str, Any]]) -> None:
        paths = [info['filename'] for info in data_list]
        missing = [path for path in paths if '://' not in path and not osp.isfile(path)]
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} of the {len(paths)} videos in {self.ann_file!r} do '
                f'not exist (first: {missing[0]!r}); check data_prefix=dict(video=...) '
                'or add the missing files'
            )

    def _identify(self, info: dict[str, Any]) -> Hashable:
        return _identify_file(info['filename'])


@DATASETS.register_module()
class CheckedRawframeDataset(CheckedList, UnreadableClips, RawframeDataset):
    """``RawframeDataset`` that rejects faulty annotation files.

    Each line is ``folder frames label``, or ``folder offset frames label`` if
    ``with_offset`` is set, separated by spaces. The last listed frame of each video
    must exist and, without offsets, no frame may follow it. This catches missing
    folders, wrong file names, incomplete extractions and wrong frame counts. With
    offsets, a folder may be listed several times. See :class:`CheckedList` and
    :class:`UnreadableClips` for the options.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from selfy_mmaction.datasets import CheckedRawframeDataset
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clip, path = Path(folder, 'clip'), Path(folder, 'train.txt')
        ...     clip.mkdir()
        ...     for number in (1, 2, 3):
        ...         (clip / f'img_{number:05}.jpg').touch()
        ...     _ = path.write_text('clip 2 0')  # one frame too few
        ...     CheckedRawframeDataset(str(path), [], data_prefix=dict(img=folder))
        Traceback (most recent call last):
            ...
        ValueError: 1 of the 1 videos in ... have more frames than listed ...
    """

    prefix_key = 'img'

    def _parse_line(self, line: str, where: str) -> dict[str, Any]:
        columns = ['folder', 'offset', 'number of frames']
        if not self.with_offset:
            columns.remove('offset')
        values = line.split()
        hint = ''
        if len(values) > len(columns) + 1:
            hint = '; if the name of the folder contains a space, rename it'
        numbers, labels = values[1 : len(columns)], values[len(columns) :]
        if not self._has_labels(labels) or not all(map(NUMBER.fullmatch, numbers)):
            raise ValueError(
                f'{where} cannot be read; expected {", ".join(columns)} and '
                f'{self._wanted_labels}, separated by spaces{hint}'
            )
        if int(numbers[-1]) < 1:
            raise ValueError(
                f'{where} has {numbers[-1]} frames, expected at least 1; extract the '
                'frames again or remove the line'
            )
        info = dict(frame_dir=self._below_prefix(values[0]))
        if self.with_offset:
            info['offset'] = int(numbers[0])
        info['total_frames'] = int(numbers[-1])
        info['label'] = self._parse_labels(labels, where, hint)
        return info

    def _check_files(self, data_list: list[dict[str, Any]]) -> None:
        # The file names of other modalities take more values than the frame number.
        is_rgb = self.modality == 'RGB'
        if is_rgb and len(self._first_names()) < 2:
            raise ValueError(
                f'filename_tmpl={self.filename_tmpl!r} must contain the frame number, '
                "such as 'img_{:05}.jpg'"
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
                f'lack their folder or their last frame (first: {what} {path!r}); '
                'check data_prefix=dict(img=...), filename_tmpl and the frame counts, '
                'or add the missing files'
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
                'have more frames than listed (first: '
                f'{longer[0]["frame_dir"]!r} has more than '
                f'{longer[0]["total_frames"]}); correct the frame counts, or, to use '
                'only the listed frames, add offsets and set with_offset=True'
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
