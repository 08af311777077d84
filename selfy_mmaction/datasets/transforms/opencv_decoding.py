# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""OpenCV transform that returns the requested frames or raises an error.

OpenCV 5.0 silently seeks to the wrong frame in an MPEG-TS. For a frame that it cannot
decode, mmaction2's ``OpenCVDecode`` uses an earlier one, and hangs if there is none
(AV1). OpenCV 4.11 does not apply the rotation of a video unless it is asked to.
"""

import os.path as osp
from typing import Any

import cv2
import mmcv
import numpy as np
from mmaction.datasets.transforms import loading
from mmaction.registry import TRANSFORMS

from .undecodable import explain, reject_transport_stream, reject_truncated

# If the container does not store the number of frames, OpenCV estimates it from the
# duration, up to two frames too many.
OPENCV_SURPLUS = 2


class _OpenCVFrames:
    """Frames of a video, which raise an error if OpenCV cannot decode them."""

    def __init__(self, reader: mmcv.VideoReader, path: str) -> None:
        self._reader = reader
        self._path = path

    def __len__(self) -> int:
        return len(self._reader)

    @property
    def fps(self) -> float:
        """Frames per second; 0 if unknown."""
        return self._reader.fps

    def __getitem__(self, index: int) -> np.ndarray:
        """Return a frame, (H, W, 3), BGR."""
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
    """mmaction2's ``OpenCVInit`` that rejects videos that OpenCV reads wrongly.

    Args:
        io_backend: Storage backend of the videos. Default: ``'disk'``.
        kwargs: Arguments of the file client.

    Example:
        >>> import numpy as np
        >>> from mmaction.registry import TRANSFORMS
        >>> from selfy_mmaction.checkpoints import SAMPLE_CLIP
        >>> results = dict(filename=str(SAMPLE_CLIP), frame_inds=np.array([0, 12]))
        >>> for kind in ('OpenCVInit', 'OpenCVDecode'):
        ...     results = TRANSFORMS.build(dict(type=kind))(results)
        >>> results['total_frames'], len(results['imgs']), results['imgs'][0].shape
        (24, 2, (68, 68, 3))
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Open ``filename``; set ``video_reader`` and ``total_frames``.

        Raises:
            ValueError: If the video is truncated or an MPEG-TS, or its first frame
                cannot be decoded.
        """
        path = results['filename']
        try:
            results = super().transform(results)
            path, total = results['new_path'], results['total_frames']
        except ValueError:  # len() of a negative number of frames
            total = 0
        if osp.isfile(path):
            with open(path, 'rb') as file:
                reject_truncated(file)
                reject_transport_stream(file, 'OpenCV')
                if total < 1:
                    raise ValueError(f'no frames found; {explain(file, "OpenCV")}')
        reader = results['video_reader']
        reader.vcap.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        frames = results['video_reader'] = _OpenCVFrames(reader, path)
        frames[0]  # raise now: OpenCV seeks forever if it cannot decode any frame
        return results
