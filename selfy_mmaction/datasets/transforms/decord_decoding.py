# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's decord steps, made to give the frames asked for or to say why not.

They replace mmaction2's own in its registry, under the same names, so that every
pipeline gets them: that of a config, of ``inference_recognizer``, of the inferencer.

Without an error decord 0.6 seeks to another frame where keyframes are not stored in the
order they are shown (x265's default), where frames have no times (H.264 or MPEG-4 with
B-frames in an AVI), and where the first frames are hidden (the edit list of a cut with
``-c copy``). It starts an MPEG-TS at a later keyframe, repeats the nearest frame for
one that it cannot decode, and shows rotated MKV as they are stored. On a truncated AVI
it ends the process.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmaction.datasets.transforms import loading
from mmaction.registry import TRANSFORMS
from mmengine.fileio import FileClient

from selfy_mmaction.datasets.video_files import (
    announced_frames,
    find_codec,
    has_ordered_keyframes,
    is_rotated_matroska,
)

from .undecodable import (
    RE_ENCODE,
    USE_PYAV,
    explain,
    refuse_transport_stream,
    refuse_truncated,
)

HAVE_HIDDEN_FRAMES = ('AV1', 'VP8', 'VP9')


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

    Frames are sought only where decord finds the right ones; of other
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
        refuse_truncated(file)
        refuse_transport_stream(file, 'decord')
        if is_rotated_matroska(file):
            raise ValueError(
                'it is to be shown rotated, but decord would not turn the frames of an '
                f'MKV; {RE_ENCODE}, or {USE_PYAV}'
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
            raise ValueError(f'{explain(file, "decord")} ({error})') from error
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
