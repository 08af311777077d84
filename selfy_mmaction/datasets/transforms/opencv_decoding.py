# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's OpenCV step, made to give the frames asked for or to say why not.

Without an error OpenCV 5.0 seeks to another frame in an MPEG-TS. For a frame that it
cannot decode, mmaction2's ``OpenCVDecode`` takes an earlier one, and never returns if
there is none (AV1).
"""

import os.path as osp
from typing import Any

import mmcv
import numpy as np
from mmaction.datasets.transforms import loading
from mmaction.registry import TRANSFORMS

from .undecodable import explain, refuse_transport_stream, refuse_truncated

# Where the container does not store the number of frames, OpenCV estimates it from the
# duration: up to two too many.
OPENCV_SURPLUS = 2


class _OpenCVFrames:
    """OpenCV's frames of a video; one that cannot be decoded is an error."""

    def __init__(self, reader: mmcv.VideoReader, path: str) -> None:
        self._reader = reader
        self._path = path

    def __len__(self) -> int:
        return len(self._reader)

    def __getitem__(self, index: int) -> np.ndarray:
        """Frame as (H, W, 3), BGR."""
        steps = OPENCV_SURPLUS if index >= len(self) - OPENCV_SURPLUS else 0
        for earlier in range(index, max(index - steps, 0) - 1, -1):
            frame = self._reader[earlier]
            if frame is not None:
                return frame
        with open(self._path, 'rb') as file:
            raise ValueError(
                f'frame {index} of {len(self)} cannot be decoded; '
                f'{explain(file, "OpenCV")}'
            )


@TRANSFORMS.register_module(force=True)
class OpenCVInit(loading.OpenCVInit):
    """mmaction2's ``OpenCVInit``, which refuses what OpenCV would read wrongly.

    Args:
        io_backend: Where the videos are. Default: disk.
        kwargs: Arguments of the file client.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Open ``filename`` as ``video_reader``, of ``total_frames``.

        Raises:
            ValueError: The video is truncated, an MPEG-TS, or its first frame cannot
                be decoded.
        """
        path = results['filename']
        try:
            results = super().transform(results)
            path, total = results['new_path'], results['total_frames']
        except ValueError:  # of Python, for a number of frames below zero
            total = 0
        if osp.isfile(path):
            with open(path, 'rb') as file:
                refuse_truncated(file)
                refuse_transport_stream(file, 'OpenCV')
                if total < 1:
                    raise ValueError(f'no frames found; {explain(file, "OpenCV")}')
        frames = results['video_reader'] = _OpenCVFrames(results['video_reader'], path)
        frames[0]  # in a video of which it decodes none OpenCV would seek for ever
        return results
