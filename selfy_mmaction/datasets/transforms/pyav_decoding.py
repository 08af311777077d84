# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""PyAV and PIMS transforms that return the requested frames or raise an error.

mmaction2's ``PyAVInit`` reads the number of frames from the container, but WebM, MKV
and MPEG-TS do not store it. Its ``PyAVDecode`` silently wraps around to the first frame
after the last one and ignores the rotation of videos. PIMS seeks like decord.
"""

import io
from typing import Any

import numpy as np
from mmaction.datasets.transforms import loading
from mmaction.registry import TRANSFORMS
from mmengine.fileio import FileClient

from .undecodable import reject_truncated


def _upright(frame: Any) -> np.ndarray:
    """Return a frame as RGB, rotated like decord and OpenCV: multiples of 90 only."""
    image = frame.to_rgb().to_ndarray()
    if frame.rotation % 90:
        return image
    return np.ascontiguousarray(np.rot90(image, frame.rotation // 90))


@TRANSFORMS.register_module(force=True)
class PyAVInit(loading.PyAVInit):
    """mmaction2's ``PyAVInit`` that counts the frames.

    Args:
        io_backend: Storage backend of the videos. Default: ``'disk'``.
        kwargs: Arguments of the file client.

    Example:
        >>> from selfy_mmaction.checkpoints import SAMPLE_CLIP
        >>> from selfy_mmaction.datasets.transforms.pyav_decoding import PyAVInit
        >>> results = PyAVInit()(dict(filename=str(SAMPLE_CLIP)))
        >>> results['total_frames'], type(results['video_reader']).__name__
        (24, 'InputContainer')
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Open ``filename``; set ``video_reader`` and ``total_frames``.

        Raises:
            ImportError: If PyAV is missing or older than 14.2.
            ValueError: If the video is truncated or has no frames.
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
        reject_truncated(io.BytesIO(content))
        with av.open(io.BytesIO(content)) as container:
            if not container.streams.video:
                raise ValueError('it has no video stream')
            declared = container.streams.video[0].frames
            packets = [packet for packet in container.demux(video=0) if packet.size]
        if len(packets) < max(declared, 1):
            raise ValueError(
                f'it has only {len(packets)} of at least {declared or 1} frames'
            )
        times = [packet.pts for packet in packets if not packet.is_discard]
        # A VP8 frame that is only a reference has the time of a displayed frame.
        results['total_frames'] = len(times if None in times else set(times))
        results['video_reader'] = av.open(io.BytesIO(content))
        return results


@TRANSFORMS.register_module(force=True)
class PyAVDecode(loading.PyAVDecode):
    """mmaction2's ``PyAVDecode`` that applies the rotation of videos.

    Args:
        multi_thread: Whether to decode in several threads. Default: False.
        mode: ``'accurate'``, or ``'efficient'`` for the nearest keyframes. Default:
            ``'accurate'``.

    Example:
        >>> from mmaction.registry import TRANSFORMS
        >>> from selfy_mmaction.checkpoints import SAMPLE_CLIP
        >>> results = dict(filename=str(SAMPLE_CLIP), frame_inds=[0, 8, 16])
        >>> for kind in ('PyAVInit', 'PyAVDecode'):
        ...     results = TRANSFORMS.build(dict(type=kind))(results)
        >>> len(results['imgs']), results['img_shape']
        (3, (68, 68))
    """

    @staticmethod
    def frame_generator(container: Any, stream: Any) -> np.ndarray | None:
        """Return the next frame, for mmaction2's ``'efficient'`` mode."""
        return next((_upright(frame) for frame in container.decode(stream)), None)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Decode the frames ``frame_inds`` of ``video_reader`` into ``imgs``.

        Raises:
            ValueError: If the video has fewer frames than it declares.
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
    """Replacement of PIMS by PyAV.

    PIMS also decodes with PyAV, but seeks to wrong frames.

    Args:
        io_backend: Storage backend of the videos. Default: ``'disk'``.
        mode: Ignored; accepted for compatibility with mmaction2. Default:
            ``'accurate'``.
        kwargs: Arguments of the file client.

    Example:
        >>> from mmaction.registry import TRANSFORMS
        >>> import selfy_mmaction  # replaces mmaction2's decoders
        >>> init = TRANSFORMS.build(dict(type='PIMSInit'))
        >>> [kind.__name__ for kind in type(init).__mro__[:2]]
        ['PIMSInit', 'PyAVInit']
    """

    def __init__(
        self, io_backend: str = 'disk', mode: str = 'accurate', **kwargs
    ) -> None:
        super().__init__(io_backend, **kwargs)


@TRANSFORMS.register_module(force=True)
class PIMSDecode(PyAVDecode):
    """Replacement of PIMS by PyAV, see :class:`PIMSInit`.

    Example:
        >>> from selfy_mmaction.checkpoints import SAMPLE_CLIP
        >>> from selfy_mmaction.datasets.transforms import pyav_decoding
        >>> results = dict(filename=str(SAMPLE_CLIP), frame_inds=[23])
        >>> results = pyav_decoding.PIMSInit()(results)
        >>> pyav_decoding.PIMSDecode()(results)['imgs'][0].shape
        (68, 68, 3)
    """
