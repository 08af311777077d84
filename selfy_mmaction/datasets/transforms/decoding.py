# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's decoders, made to give the frames asked for or to say why they cannot.

They replace mmaction2's own in its registry, under the same names, so that every
pipeline gets them: that of a config, of ``inference_recognizer``, of the inferencer.

What mmaction2 1.2 does with decord 0.6, OpenCV 5.0 and PyAV 18, each without an error:

- decord seeks to another frame where keyframes are not stored in the order they are
  shown (x265's default), where frames have no times (H.264 or MPEG-4 with B-frames in
  an AVI), and where the first frames are hidden (the edit list of a cut with
  ``-c copy``). It starts an MPEG-TS at a later keyframe, repeats the nearest frame for
  one that it cannot decode, and shows rotated MKV as they are stored. On a truncated
  AVI it ends the process.
- OpenCV seeks to another frame in an MPEG-TS. For a frame that it cannot decode,
  ``OpenCVDecode`` takes an earlier one, and never returns if there is none (AV1).
- ``PyAVInit`` takes the number of frames from the container, which WebM, MKV and
  MPEG-TS do not store. ``PyAVDecode`` starts again at the first frame after the last,
  and shows rotated videos as they are stored. PIMS seeks like decord.
"""

import io
import os.path as osp
from collections.abc import Sequence
from typing import Any, BinaryIO

import mmcv
import numpy as np
from mmaction.datasets.transforms import loading
from mmaction.registry import TRANSFORMS
from mmengine.fileio import FileClient

from selfy_mmaction.datasets.video_files import (
    announced_frames,
    announced_size,
    describe,
    find_codec,
    find_container,
    has_ordered_keyframes,
    is_rotated_matroska,
)

USE_PYAV = 'read it with PyAV (pip install av; SELFY_DECODER=PyAV for our configs)'
REMUX = 'copy it into an MP4 (ffmpeg -i IN -c copy OUT.mp4)'
REENCODE = 're-encode it (ffmpeg -i IN -c:v libx264 -crf 18 OUT.mp4)'

NO_VIDEOS = ('HTML', 'Git LFS pointer')
HAVE_HIDDEN_FRAMES = ('AV1', 'VP8', 'VP9')
WIDELY_KNOWN = ('FFV1', 'H.264', 'HEVC', 'MJPEG', 'MPEG-4', 'VP8', 'VP9')

# Where the container does not store the number of frames, OpenCV estimates it from the
# duration: up to two too many.
OPENCV_SURPLUS = 2


def _refuse_truncated(file: BinaryIO) -> None:
    size = file.seek(0, io.SEEK_END)
    if not size:
        raise ValueError('it is empty (0 bytes)')
    announced = announced_size(file)
    if announced > size:
        raise ValueError(f'it is truncated: {size} of at least {announced} bytes')


def _refuse_transport_stream(file: BinaryIO, decoder: str) -> None:
    if find_container(file) == 'MPEG-TS':
        raise ValueError(
            f'it is an MPEG-TS, in which {decoder} finds other frames than asked for; '
            f'{REMUX}, or {USE_PYAV}'
        )


def _explain(file: BinaryIO, decoder: str) -> str:
    """What a video is that cannot be decoded, and what helps if it is not damaged."""
    what = describe(file)
    if find_container(file) in NO_VIDEOS:
        return f'it is no video, but {what}'
    if find_codec(file) in WIDELY_KNOWN:
        return f'it is {what}; if it is not damaged, {USE_PYAV}, or {REENCODE}'
    return f'it is {what}, which {decoder} may not know: {USE_PYAV}, or {REENCODE}'


class _FramesInOrder:
    """A decord reader that decodes from the first frame on instead of seeking."""

    def __init__(self, reader: Any, num_frames: int) -> None:
        self._reader = reader
        self._num_frames = num_frames

    def __len__(self) -> int:
        return self._num_frames

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def get_batch(self, indices: Sequence[int]) -> Any:
        """Frames as decord's array (len(indices), H, W, 3)."""
        from decord import ndarray

        wanted = {int(index) for index in indices}
        if not wanted <= set(range(len(self))):
            raise IndexError(f'frames {sorted(wanted)} asked of {len(self)}')
        frames = {}
        self._reader.seek(0)
        for index in range(max(wanted) + 1):
            frame = self._reader.next()
            if index in wanted:
                frames[index] = frame.asnumpy()
        return ndarray.array(np.stack([frames[int(index)] for index in indices]))


@TRANSFORMS.register_module(force=True)
class DecordInit(loading.DecordInit):
    """mmaction2's ``DecordInit``, which refuses what decord would read wrongly.

    See the module. Frames are sought only where decord finds the right ones; of other
    videos all frames up to the last one wanted are decoded.

    Args:
        io_backend: Where the videos are. Default: disk.
        num_threads: Threads of a reader. Default: 1.
        kwargs: Arguments of the file client.
    """

    def _get_video_reader(self, filename: str) -> Any:
        import decord

        if '.' not in filename.rsplit('/', 1)[-1]:  # as there
            filename += '.mp4'
        if self.file_client is None:
            self.file_client = FileClient(self.io_backend, **self.kwargs)
        file = io.BytesIO(self.file_client.get(filename))
        _refuse_truncated(file)
        _refuse_transport_stream(file, 'decord')
        if is_rotated_matroska(file):
            raise ValueError(
                'it is to be shown rotated, but decord would not turn the frames of an '
                f'MKV; {REENCODE}, or {USE_PYAV}'
            )
        ordered = has_ordered_keyframes(file)
        try:
            # The smallest tolerance there is: frames repeated for others are an error,
            # but decord counts those that these codecs never show.
            tolerance = -1 if find_codec(file) in HAVE_HIDDEN_FRAMES else 1e-9
            file.seek(0)
            reader = decord.VideoReader(
                file, num_threads=self.num_threads, fault_tol=tolerance
            )
        except (RuntimeError, decord.DECORDError) as error:
            raise ValueError(f'{_explain(file, "decord")} ({error})') from error
        announced = announced_frames(file)
        if len(reader) < max(announced, 1):
            raise ValueError(
                f'only {len(reader)} of at least {announced or 1} frames are in it'
            )
        times = reader.get_frame_timestamp(range(len(reader)))[:, 0]
        has_times = np.abs(times).max() < 1e9  # far below: not a time
        # Hidden are frames before the first, and those that only serve others (VP8),
        # which have the time of one that is shown.
        shown = len(np.unique(times[times > -1e-6])) if has_times else len(reader)
        if ordered and has_times and shown == len(reader):
            return reader
        return _FramesInOrder(reader, shown)


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
                f'{_explain(file, "OpenCV")}'
            )


@TRANSFORMS.register_module(force=True)
class OpenCVInit(loading.OpenCVInit):
    """mmaction2's ``OpenCVInit``, which refuses what OpenCV would read wrongly.

    See the module.

    Args:
        io_backend: Where the videos are. Default: disk.
        kwargs: Arguments of the file client.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Open a video.

        Args:
            results: Needs ``filename``.

        Returns:
            The results, with ``video_reader``, ``new_path`` and ``total_frames``.

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
                _refuse_truncated(file)
                _refuse_transport_stream(file, 'OpenCV')
                if total < 1:
                    raise ValueError(f'no frames found; {_explain(file, "OpenCV")}')
        frames = results['video_reader'] = _OpenCVFrames(results['video_reader'], path)
        frames[0]  # in a video of which it decodes none OpenCV would seek for ever
        return results


def _upright(frame: Any) -> np.ndarray:
    """RGB of PyAV's frame, turned like decord and OpenCV do: by quarters only."""
    image = frame.to_rgb().to_ndarray()
    if frame.rotation % 90:
        return image
    return np.ascontiguousarray(np.rot90(image, frame.rotation // 90))


@TRANSFORMS.register_module(force=True)
class PyAVInit(loading.PyAVInit):
    """mmaction2's ``PyAVInit``, which counts the frames. See the module.

    Args:
        io_backend: Where the videos are. Default: disk.
        kwargs: Arguments of the file client.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Open a video.

        Args:
            results: Needs ``filename``.

        Returns:
            The results, with ``video_reader`` and ``total_frames``.

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
        _refuse_truncated(io.BytesIO(content))
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
    """mmaction2's ``PyAVDecode``, which turns rotated videos. See the module.

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
        """Decode the frames of a clip.

        Args:
            results: Needs ``video_reader`` and ``frame_inds``.

        Returns:
            The results, with ``imgs``, ``original_shape`` and ``img_shape``.

        Raises:
            ValueError: The video has fewer frames than it announces.
        """
        if self.mode == 'efficient':
            return super().transform(results)
        indices = results['frame_inds'] = np.ravel(results['frame_inds'])
        wanted = {int(index) for index in indices}
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
        results['imgs'] = [frames[int(index)] for index in indices]
        results['original_shape'] = results['imgs'][0].shape[:2]
        results['img_shape'] = results['imgs'][0].shape[:2]
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
