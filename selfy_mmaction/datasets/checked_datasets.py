# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's datasets of videos and of frames, with checked lists."""

import os
import os.path as osp
from collections.abc import Hashable
from typing import Any

from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.registry import DATASETS

from .checked_lists import NUMBER, CheckedList
from .unreadable_clips import UnreadableClips


def _identify_file(path: str) -> Hashable:
    """The file itself where the system tells, so that other spellings are the same."""
    try:
        status = os.stat(path)
    except OSError:  # in another place than on disk
        return path
    return (status.st_dev, status.st_ino) if status.st_ino else osp.realpath(path)


@DATASETS.register_module()
class CheckedVideoDataset(CheckedList, UnreadableClips, VideoDataset):
    """``VideoDataset`` that refuses a list on which training would be wrong.

    The list has one ``path label`` a line, separated by ``delimiter``. See
    :class:`CheckedList` and :class:`UnreadableClips` for the options.
    """

    prefix_key = 'video'

    def _parse_line(self, line: str, where: str) -> dict[str, Any]:
        if not isinstance(self.delimiter, str) or not self.delimiter:
            raise ValueError(
                f'delimiter={self.delimiter!r} must be the characters between the path '
                "and the label, such as ' ' or ','"
            )
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
class CheckedRawframeDataset(CheckedList, UnreadableClips, RawframeDataset):
    """``RawframeDataset`` that refuses a list on which training would be wrong.

    The list has one ``folder frames label`` a line, or with ``with_offset`` one
    ``folder offset frames label``, separated by spaces. Of each clip the last frame
    must be there and, without offsets, must be the last one: that finds missing
    folders, names of another form, incomplete extractions and wrong numbers. With
    offsets, a folder may be listed with several clips. See :class:`CheckedList` and
    :class:`UnreadableClips` for the options.
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
        if not self._has_labels(labels) or not all(map(NUMBER.fullmatch, numbers)):
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
