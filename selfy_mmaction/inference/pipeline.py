# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The config's own test pipeline, run on windows of a video or on frames in memory."""

import time
from collections.abc import Sequence
from typing import Any

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

from .videos import Window, cut_windows, frame_times


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
        steps = _test_pipeline(config)
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


class OpenVideo:
    """A video that is open for reading; see :meth:`VideoPipeline.open`.

    Attributes:
        total_frames: Number of frames.
        times: Result of :func:`frame_times`.
        seconds: Seconds it took to open the video.
    """

    def __init__(self, pipeline: VideoPipeline, path: str) -> None:
        self._pipeline = pipeline
        self._path = path
        start = time.perf_counter()
        self._reopen()
        self.total_frames = self._info['total_frames']
        self.times = frame_times(self._info)
        self.seconds = time.perf_counter() - start

    def _reopen(self) -> None:
        info = _annotation(filename=self._path)
        self._info = read_clip(self._pipeline._open, info)
        self._is_used = False

    def cut(self, window: float | None, stride: float | None) -> list[Window]:
        """Cut the video into windows, see :func:`cut_windows`.

        Raises:
            UnreadableError: If its frame rate does not allow it.
        """
        try:
            return cut_windows(self.times, self.total_frames, window, stride)
        except ValueError as error:
            raise UnreadableError(str(error)) from None

    def read(self, windows: Sequence[Window]) -> tuple[list[dict[str, Any]], list[str]]:
        """Run the pipeline on windows, which are decoded together.

        Returns:
            The packed inputs and a note on each window.

        Raises:
            UnreadableError: If a frame cannot be decoded.
        """
        # PyAVDecode closes the video.
        if self._is_used and hasattr(self._info['video_reader'], 'demux'):
            self._reopen()
        self._is_used = True
        infos = [
            _run(
                self._pipeline._sample,
                dict(self._info, start_index=w.first, total_frames=w.length),
            )
            for w in windows
        ]
        frames = [np.ravel(info['frame_inds']) for info in infos]
        together = dict(infos[0], frame_inds=np.concatenate(frames))
        together['total_frames'] = self.total_frames
        decoded = read_clip([self._pipeline._decode], together)
        parts, position = [], 0
        for info, indices in zip(infos, frames, strict=True):
            images = decoded['imgs'][position : position + len(indices)]
            position += len(indices)
            part = {**decoded, **info, 'frame_inds': indices, 'imgs': images}
            part['video_reader'] = None  # as after mmaction2's steps
            parts.append(_run(self._pipeline._finish, part))
        return parts, [_note(info) for info in infos]


def _test_pipeline(config: Config) -> Any:
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    while 'pipeline' not in dataset and isinstance(dataset.get('dataset'), dict):
        dataset = dataset['dataset']  # a wrapper, such as RepeatDataset
    return dataset.get('pipeline') or config.get('test_pipeline')


def _annotation(**values: Any) -> dict[str, Any]:
    # As in mmaction2's inference_recognizer. No class is known, hence label -1.
    return dict(label=-1, start_index=0, modality='RGB', **values)


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
