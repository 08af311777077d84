# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The config's own test pipeline, run on windows of a video or on frames in memory."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from selfy_mmaction.datasets.reading import (
    Transform,
    UnreadableError,
    read_clip,
    reads_files,
)
from selfy_mmaction.datasets.transforms.pyav_decoding import PyAVDecode

from .videos import Window, cut_windows, frame_times, select_window


class VideoPipeline:
    """Test pipeline of a config, split where it opens and decodes a video.

    Args:
        config: Config. The pipeline of its test dataset, which ``test.py`` runs, comes
            before ``test_pipeline``, which ``inference_recognizer`` runs.
        name: Name of the config for messages.

    Raises:
        ValueError: If there is no test pipeline, or it does not read videos.
    """

    def __init__(self, config: Config, name: str) -> None:
        steps = find_test_pipeline(config)
        if not steps:
            raise ValueError(
                f'{name} has no test pipeline; set test_pipeline, or pipeline in the '
                'dataset of test_dataloader'
            )
        init_default_scope(config.get('default_scope', 'mmaction'))
        try:
            transforms = Compose(steps).transforms
        except Exception as error:  # a transform of the user may raise any error
            raise ValueError(
                f'the test pipeline of {name} cannot be built: {type(error).__name__}: '
                f'{error}'
            ) from error
        kinds = [type(step).__name__ for step in transforms]
        files = [reads_files(step) for step in transforms]
        inits = [i for i, kind in enumerate(kinds) if 'Init' in kind]
        if not inits or True not in files[inits[-1] + 1 :]:
            raise ValueError(
                f'the test pipeline of {name} does not read videos; expected '
                f'DecordInit, SampleFrames, DecordDecode or similar steps, not '
                f'{", ".join(kinds)}'
            )
        opened, decoding = inits[-1] + 1, files.index(True, inits[-1] + 1)
        self._open = transforms[:opened]
        self._sample = transforms[opened:decoding]
        self._decode = transforms[decoding]
        self._finish = transforms[decoding + 1 :]

    @property
    def sampling_steps(self) -> tuple[Transform, ...]:
        """The steps between opening and decoding."""
        return tuple(self._sample)

    @property
    def finishing_steps(self) -> tuple[Transform, ...]:
        """The steps after decoding."""
        return tuple(self._finish)

    def open(self, path: str) -> 'OpenVideo':
        """Open a video.

        Raises:
            UnreadableError: If it cannot be opened.
        """
        return OpenVideo(self, path)

    def run_on_frames(self, frames: Any) -> dict[str, Any]:
        """Run the pipeline on frames in memory.

        Args:
            frames: (T, H, W, 3), uint8, RGB: an array or any sequence of frames.

        Returns:
            The packed inputs of one clip.
        """
        info = _annotation(total_frames=len(frames))
        info = _run(self._sample, info)
        info['frame_inds'] = np.ravel(info['frame_inds'])
        info['imgs'] = [frames[index] for index in info['frame_inds']]
        shape = info['imgs'][0].shape[:2]
        info['original_shape'] = info['img_shape'] = shape
        return _run(self._finish, info)


class Clip(NamedTuple):
    """One clip, ready for the network.

    Attributes:
        window: The part of the video.
        inputs: The packed inputs.
        times: Second of each sampled frame, (T,); None if unknown.
        note: What is unusual about it, or an empty string.
    """

    window: Window
    inputs: dict[str, Any]
    times: np.ndarray | None
    note: str


class OpenVideo:
    """A video that is open for reading; see :meth:`VideoPipeline.open`.

    Attributes:
        total_frames: Number of frames.
        times: Result of :func:`frame_times`.
    """

    def __init__(self, pipeline: VideoPipeline, path: str) -> None:
        self._pipeline = pipeline
        self._info = _read(pipeline._open, _annotation(filename=path))
        self.total_frames = self._info['total_frames']
        self.times = frame_times(self._info)
        self._next = 0  # index of the next frame, if the decoder cannot seek
        decode = pipeline._decode
        self._goes_on = (
            isinstance(decode, PyAVDecode)
            and decode.mode == 'accurate'
            and not decode.multi_thread
        )
        if self._goes_on:
            self._info['video_reader'] = _OpenContainer(self._info['video_reader'])

    def cut(self, window: float | None, stride: float | None) -> list[Window]:
        """Cut the video into windows, see :func:`cut_windows`.

        Raises:
            UnreadableError: If its frame rate does not allow it.
        """
        try:
            return cut_windows(self.times, self.total_frames, window, stride)
        except ValueError as error:
            raise UnreadableError(str(error)) from None

    def read_clip(
        self, start: float | None = None, seconds: float | None = None
    ) -> Clip:
        """Run the pipeline on one part of the video. To be called once.

        Args:
            start: Second at which the part starts. Default: None, that of the video.
            seconds: Length of the part. Default: None, to the end of the video.

        Raises:
            UnreadableError: If a frame cannot be decoded, or the frame rate is unknown
                but needed.
            ValueError: If the part is not in the video.
        """
        window = select_window(self.times, self.total_frames, start, seconds)
        ((_, inputs, note),) = next(self.read([window], 1))
        indices = np.ravel(self._sample(window)['frame_inds'])
        times = None if self.times is None else self.times[indices]
        return Clip(window, inputs, times, note)

    def read(
        self, windows: Sequence[Window], batch_size: int
    ) -> Iterator[list[tuple[Window, dict[str, Any], str]]]:
        """Run the pipeline on windows. To be called once.

        Each frame is decoded once, in the order of the video, whether windows overlap
        or not: decoders may be slow to go back. A frame is in memory until the last
        window that needs it.

        Args:
            windows: Windows in the order of their first frames.
            batch_size: Number of windows that are decoded together.

        Yields:
            Each window of a batch, its packed inputs and a note on it.

        Raises:
            UnreadableError: If a frame cannot be decoded.
        """
        samples = [self._sample(window) for window in windows]
        needed = [np.ravel(info['frame_inds']) for info in samples]
        images: dict[int, np.ndarray] = {}
        decoded: dict[str, Any] = {}
        for first in range(0, len(windows), batch_size):
            batch = range(first, min(first + batch_size, len(windows)))
            last = max(int(needed[index].max()) for index in batch)
            ahead = set()
            for window, indices in zip(windows[first:], needed[first:], strict=True):
                if window.first > last:
                    break
                ahead.update(indices[indices <= last].tolist())
            if missing := sorted(ahead - images.keys()):
                decoded = self._decode(samples[first], missing)
                images.update(zip(missing, decoded['imgs'], strict=True))
            yield [
                (
                    windows[index],
                    self._finish(decoded, samples[index], needed[index], images),
                    _note(samples[index]),
                )
                for index in batch
            ]
            if batch.stop < len(windows):
                start = windows[batch.stop].first
                images = {index: images[index] for index in images if index >= start}

    def _sample(self, window: Window) -> dict[str, Any]:
        info = dict(self._info, start_index=window.first, total_frames=window.length)
        return _run(self._pipeline._sample, info)

    def _decode(self, sample: dict[str, Any], indices: list[int]) -> dict[str, Any]:
        skipped = self._next if self._goes_on else 0
        info = dict(sample, total_frames=self.total_frames)
        decoded = _read(
            [self._pipeline._decode],
            dict(info, frame_inds=np.array(indices) - skipped),
        )
        self._next = indices[-1] + 1
        return decoded

    def _finish(
        self,
        decoded: dict[str, Any],
        sample: dict[str, Any],
        indices: np.ndarray,
        images: dict[int, np.ndarray],
    ) -> dict[str, Any]:
        # video_reader is None after mmaction2's steps, too.
        own = dict(sample, video_reader=None, frame_inds=indices)
        own['imgs'] = [images[index] for index in indices.tolist()]
        return _run(self._pipeline._finish, {**decoded, **own})


class _OpenContainer:
    """PyAV container that ``PyAVDecode`` leaves open, at the next frame."""

    def __init__(self, container: Any) -> None:
        self._frames = container.decode(video=0)
        self.streams = container.streams

    def __enter__(self) -> '_OpenContainer':
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def decode(self, video: int) -> Iterator[Any]:
        """Return the frames that are not decoded yet."""
        return self._frames


def find_test_pipeline(config: Config) -> Any:
    """Return the test pipeline of a config, as a list of configs; None if absent."""
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    while 'pipeline' not in dataset and isinstance(dataset.get('dataset'), dict):
        dataset = dataset['dataset']  # a wrapper, such as RepeatDataset
    return dataset.get('pipeline') or config.get('test_pipeline')


def _annotation(**values: Any) -> dict[str, Any]:
    # As in mmaction2's inference_recognizer. No class is known, hence label -1.
    return dict(label=-1, start_index=0, modality='RGB', **values)


def _read(steps: Sequence[Transform], info: dict[str, Any]) -> dict[str, Any]:
    results = read_clip(steps, info)
    if results is None:
        raise UnreadableError('a step of the test pipeline rejected it')
    return results


def _run(steps: Sequence[Transform], info: dict[str, Any]) -> dict[str, Any]:
    for step in steps:
        info = step(info)
        if info is None:
            raise UnreadableError(f'{type(step).__name__} rejected it')
    return info


def _note(info: dict[str, Any]) -> str:
    clip = info.get('clip_len') or 1
    steps = (clip - 1) * (info.get('frame_interval') or 1) + 1
    needed = info.get('num_clips', 1) if clip == 1 else steps
    if info['total_frames'] >= needed:
        return ''
    return f'{info["total_frames"]} frames for a clip of {needed}: some are repeated'
