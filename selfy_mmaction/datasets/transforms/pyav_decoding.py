# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's PyAV and PIMS steps, made to give the frames asked for or to say why not.

Without an error, mmaction2's ``PyAVInit`` takes the number of frames from the
container, which WebM, MKV and MPEG-TS do not store. Its ``PyAVDecode`` starts again at
the first frame after the last, and shows rotated videos as they are stored. PIMS seeks
like decord.
"""

import io
from typing import Any

import numpy as np
from mmaction.datasets.transforms import loading
from mmaction.registry import TRANSFORMS
from mmengine.fileio import FileClient

from .undecodable import refuse_truncated


def _upright(frame: Any) -> np.ndarray:
    """RGB of PyAV's frame, turned like decord and OpenCV do: by quarters only."""
    image = frame.to_rgb().to_ndarray()
    if frame.rotation % 90:
        return image
    return np.ascontiguousarray(np.rot90(image, frame.rotation // 90))


@TRANSFORMS.register_module(force=True)
class PyAVInit(loading.PyAVInit):
    """mmaction2's ``PyAVInit``, which counts the frames.

    Args:
        io_backend: Where the videos are. Default: disk.
        kwargs: Arguments of the file client.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Open ``filename`` as ``video_reader``, of ``total_frames``.

        Raises:
            ImportError: PyAV is missing or older than 14.2.
            ValueError: The video is truncated, or has no frames.
        """
        try:
            import av
        except ImportError:
            raise ImportError('PyAV is not installed; pip install av') from None
        if not hasattr(av.VideoFrame, 'rotation'):
            raise ImportError(
                f"PyAV {av.__version__} is too old; pip install 'av>=14.2'"
            )
        if self.file_client is None:
            self.file_client = FileClient(self.io_backend, **self.kwargs)
        content = self.file_client.get(results['filename'])
        refuse_truncated(io.BytesIO(content))
        with av.open(io.BytesIO(content)) as container:
            if not container.streams.video:
                raise ValueError('there is no video in it')
            announced = container.streams.video[0].frames
            packets = [packet for packet in container.demux(video=0) if packet.size]
        if len(packets) < max(announced, 1):
            raise ValueError(
                f'only {len(packets)} of at least {announced or 1} frames are in it'
            )
        times = [packet.pts for packet in packets if not packet.is_discard]
        # A frame of VP8 that only serves others has the time of one that is shown.
        results['total_frames'] = len(times if None in times else set(times))
        results['video_reader'] = av.open(io.BytesIO(content))
        return results


@TRANSFORMS.register_module(force=True)
class PyAVDecode(loading.PyAVDecode):
    """mmaction2's ``PyAVDecode``, which turns rotated videos.

    Args:
        multi_thread: Whether to decode in several threads. Default: False.
        mode: ``accurate``, or ``efficient`` for the nearest keyframes. Default:
            accurate.
    """

    @staticmethod
    def frame_generator(container: Any, stream: Any) -> np.ndarray | None:
        """The next frame, for mmaction2's ``efficient`` mode."""
        return next((_upright(frame) for frame in container.decode(stream)), None)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Decode the frames ``frame_inds`` of ``video_reader`` as ``imgs``.

        Raises:
            ValueError: The video has fewer frames than it announces.
        """
        if self.mode == 'efficient':
            return super().transform(results)
        results['frame_inds'] = np.ravel(results['frame_inds'])
        indices = results['frame_inds'].tolist()
        wanted = set(indices)
        frames = {}
        with results['video_reader'] as container:
            if self.multi_thread:
                container.streams.video[0].thread_type = 'AUTO'
            for index, frame in enumerate(container.decode(video=0)):
                if index in wanted:
                    frames[index] = _upright(frame)
                if len(frames) == len(wanted):
                    break
        if len(frames) < len(wanted):
            raise ValueError(
                f'frame {max(wanted)} of {results["total_frames"]} cannot be decoded'
            )
        results['video_reader'] = None
        results['imgs'] = [frames[index] for index in indices]
        shape = results['imgs'][0].shape[:2]
        results['original_shape'] = results['img_shape'] = shape
        return results


@TRANSFORMS.register_module(force=True)
class PIMSInit(PyAVInit):
    """PIMS decodes with PyAV, but seeks to other frames: PyAV alone is used.

    Args:
        io_backend: Where the videos are. Default: disk.
        mode: As for mmaction2's; of no effect.
        kwargs: Arguments of the file client.
    """

    def __init__(
        self, io_backend: str = 'disk', mode: str = 'accurate', **kwargs
    ) -> None:
        super().__init__(io_backend, **kwargs)


@TRANSFORMS.register_module(force=True)
class PIMSDecode(PyAVDecode):
    """See :class:`PIMSInit`."""
