# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's video data set with its input checked before training starts."""

import os.path as osp
from typing import Any

from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS
from mmengine.fileio import exists, list_from_file


@DATASETS.register_module()
class CheckedVideoDataset(VideoDataset):
    """``VideoDataset`` that refuses a list on which training would be wrong.

    When it is built: lines that cannot be read, labels outside ``num_classes``,
    videos that do not exist. While it is read: a video that cannot be decoded is
    named, whatever the decoder.

    Args:
        ann_file: Annotation file, one ``path label`` a line.
        num_classes: Number of classes. Default: None, labels are not held against it.
        kwargs: Arguments of mmaction2's ``VideoDataset``.

    Raises:
        FileNotFoundError: The annotation file or videos are missing.
        ValueError: A line cannot be read, or its label is outside the classes.
    """

    def __init__(
        self, ann_file: str, *args, num_classes: int | None = None, **kwargs
    ) -> None:
        super().__init__(ann_file, *args, num_classes=num_classes, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Load the annotation file.

        Returns:
            One dict(filename=..., label=...) a video.
        """
        if not exists(self.ann_file):
            raise FileNotFoundError(
                f'annotation file {self.ann_file!r} does not exist; set '
                'ann_file of the data set to the list that the preparation wrote'
            )
        for number, line in enumerate(list_from_file(self.ann_file), start=1):
            self._check_line(line, f'{self.ann_file}, line {number}: {line!r}')
        data_list = super().load_data_list()
        self._check_files([info['filename'] for info in data_list])
        return data_list

    def _check_line(self, line: str, where: str) -> None:
        path, *labels = line.strip().split(self.delimiter)
        wanted = 'at least one label' if self.multi_class else 'one label'
        if not path or (len(labels) != 1 and not (self.multi_class and labels)):
            raise ValueError(
                f'{where} cannot be read; expected a path and {wanted}, separated by '
                f'{self.delimiter!r}'
            )
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

    def _check_files(self, paths: list[str]) -> None:
        missing = [path for path in paths if '://' not in path and not osp.isfile(path)]
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} of the {len(paths)} videos in {self.ann_file!r} do '
                f'not exist, the first is {missing[0]!r}; check '
                "data_prefix=dict(video=...) or complete the data set's folder"
            )

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on a video.

        Args:
            idx: Index of the video.

        Returns:
            What the pipeline returns.

        Raises:
            RuntimeError: The pipeline failed, say on a truncated file.
        """
        try:
            return super().prepare_data(idx)
        except Exception as error:
            filename = self.get_data_info(idx)['filename']
            raise RuntimeError(
                f'video {filename!r} could not be read ({type(error).__name__}: '
                f'{error}); if the file is truncated, replace it or take its line '
                f'out of {self.ann_file!r}'
            ) from error
