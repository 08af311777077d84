# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Ways to run a network on live frames."""

import time
from abc import ABC, abstractmethod
from collections import deque
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate

from selfy_mmaction.deployment.sliding_windows import SlidingWindowRecognizer
from selfy_mmaction.deployment.streaming import StreamingRecognizer
from selfy_mmaction.inference import Predictor
from selfy_mmaction.inference.predictor import class_probabilities
from selfy_mmaction.ops import check_choice, check_int

from .frame_rate import ClipSampling, find_sampling
from .preparation import FramePreparation

MODES = ('window', 'exact')


class LiveRecognizer(ABC):
    """Gives the probabilities of the classes after each frame.

    Attributes:
        about: What it computes, and why this way was chosen.
        stride: Frames per result.
        model_seconds: Seconds of the network in the last step; None if it did not run.
    """

    about: str
    stride: int
    model_seconds: float | None = None

    @abstractmethod
    def step(self, image: np.ndarray) -> np.ndarray | None:
        """Take one more frame.

        Args:
            image: (H, W, 3), uint8, RGB.

        Returns:
            Probability of each class, (C,), float64; None if there is no result yet, or
            none is due.
        """

    @abstractmethod
    def reset(self) -> None:
        """Forget all frames."""

    def warm_up(self, height: int, width: int) -> None:
        """Run until the first result: the first steps are much slower than the others.

        Args:
            height: Height of the frames.
            width: Width of the frames.
        """
        stride, self.stride = self.stride, 1
        try:
            while self.step(np.zeros((height, width, 3), np.uint8)) is None:
                pass
        finally:
            self.stride = stride
            self.reset()


class StreamRecognizer(LiveRecognizer):
    """Runs a network that can stream, and keeps its state.

    Args:
        stream: The network.
        preparation: The steps after decoding.
        about: See :class:`LiveRecognizer`.
        stride: See :class:`LiveRecognizer`. Default: 1.
    """

    def __init__(
        self,
        stream: StreamingRecognizer | SlidingWindowRecognizer,
        preparation: FramePreparation,
        about: str,
        stride: int = 1,
    ) -> None:
        self._stream = stream
        self._preparation = preparation
        self.about, self.stride = about, stride
        self.reset()

    def step(self, image: np.ndarray) -> np.ndarray | None:
        """See :meth:`LiveRecognizer.step`."""
        packed = self._preparation.pack([self._preparation.prepare(image)])
        network = self._stream.network
        with torch.no_grad():
            inputs = network.data_preprocessor(pseudo_collate([packed]))['inputs']
        begin = time.perf_counter()
        scores, self._state = self._stream.forward_step(inputs[:, 0], self._state)
        # Waits for the device.
        scores = None if scores is None else scores[0].double().softmax(-1).cpu()
        self.model_seconds = time.perf_counter() - begin
        self._number += 1
        due = (self._number - self._stream.delay - 1) % self.stride == 0
        return scores.numpy() if scores is not None and due else None

    def reset(self) -> None:
        """See :meth:`LiveRecognizer.reset`."""
        self._state: Any = None
        self._number = 0


class ClipRecognizer(LiveRecognizer):
    """Runs any network on the whole clip of the last frames.

    Args:
        model: The network.
        preparation: The steps after decoding.
        sampling: How a clip is sampled.
        about: See :class:`LiveRecognizer`.
        stride: See :class:`LiveRecognizer`. Default: 1.
    """

    def __init__(
        self,
        model: Any,
        preparation: FramePreparation,
        sampling: ClipSampling,
        about: str,
        stride: int = 1,
    ) -> None:
        self._model = model
        self._preparation = preparation
        self._sampling = sampling
        self._frames: deque[dict[str, Any]] = deque(maxlen=sampling.frames)
        self._number = 0
        self.about, self.stride = about, stride

    def step(self, image: np.ndarray) -> np.ndarray | None:
        """See :meth:`LiveRecognizer.step`."""
        self._frames.append(self._preparation.prepare(image))
        self._number += 1
        beyond = self._number - self._sampling.frames
        self.model_seconds = None
        if beyond < 0 or beyond % self.stride:
            return None
        packed = self._preparation.pack(self._frames, self._sampling)
        begin = time.perf_counter()
        with torch.no_grad():
            (sample,) = self._model.test_step(pseudo_collate([packed]))
        probabilities = class_probabilities(sample, self._model.cls_head)
        self.model_seconds = time.perf_counter() - begin
        return probabilities

    def reset(self) -> None:
        """See :meth:`LiveRecognizer.reset`."""
        self._frames.clear()
        self._number = 0


def sampling_of(predictor: Predictor) -> ClipSampling:
    """Return how the test pipeline of a network samples one clip.

    Raises:
        ValueError: If it does not sample frames.

    Example:
        >>> from selfy_mmaction.inference import Predictor
        >>> from selfy_mmaction.live.recognizers import sampling_of
        >>> sampling = sampling_of(Predictor(device='cpu'))
        >>> sampling.frames, sampling.interval  # spread over the whole video
        (8, None)
    """
    backbone = getattr(predictor.model, 'backbone', None)
    segments = getattr(backbone, 'num_segments', None)
    return find_sampling(predictor.pipeline.sampling_steps, segments)


def make_recognizer(
    predictor: Predictor, mode: str = 'window', stride: int | None = None
) -> LiveRecognizer:
    """Choose how to run a network.

    Args:
        predictor: The network with its test pipeline.
        mode: 'window' gives the result of the network for the last T frames, with
            cached features if it can stream, else from the whole clip. 'exact' streams
            frame by frame and averages the scores of the last T frames. Default:
            'window'.
        stride: Frames per result. Default: None, 1; a quarter of a clip if each result
            needs the whole clip.

    Raises:
        ValueError: If an argument is wrong, or ``mode`` is 'exact' and the network
            cannot stream.

    Example:
        >>> from selfy_mmaction.inference import Predictor
        >>> from selfy_mmaction.live.recognizers import make_recognizer
        >>> from selfy_mmaction.motion_benchmark import render_clip
        >>> recognizer = make_recognizer(Predictor(device='cpu'), mode='window')
        >>> for image in render_clip('small', 'val', index=0)[1::3]:  # 8 of 24 frames
        ...     probabilities = recognizer.step(image)
        >>> probabilities.shape
        (12,)
    """
    check_choice('mode', mode, MODES)
    if stride is not None:
        check_int('stride', stride, least=1)
    sampling = sampling_of(predictor)
    preparation = FramePreparation(predictor.pipeline.finishing_steps)
    model, frames = predictor.model, sampling.frames
    if mode == 'exact':
        try:
            exact = StreamingRecognizer(model, average_frames=frames)
        except ValueError as error:
            raise ValueError(f'mode exact: {error}, or use mode window') from None
        about = (
            f'exact: each layer runs once per frame, and the scores of the last '
            f'{frames} frames are averaged; the first result comes with frame '
            f'{exact.delay + 1}'
        )
        return StreamRecognizer(exact, preparation, about, stride or 1)
    about = f'window: each result is that of the last {frames} frames as one clip'
    try:
        window = SlidingWindowRecognizer(model, frames)
    except ValueError as error:
        stride = stride or max(1, frames // 4)
        about += f', which is run as a whole every {stride} frames, because {error}'
        return ClipRecognizer(model, preparation, sampling, about, stride)
    about += ', with cached features, because the network can stream'
    return StreamRecognizer(window, preparation, about, stride or 1)
