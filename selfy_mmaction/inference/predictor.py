# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""A network that is loaded once and predicts for videos and frames."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.datasets.reading import UnreadableError
from selfy_mmaction.ops import check_int
from selfy_mmaction.text_files import read_class_names

from .network import (
    build_network,
    choose_device,
    choose_files,
    find_class_names,
    load_checkpoint,
    read_config,
)
from .pipeline import Clip, VideoPipeline
from .prediction import ClassProbability, Prediction
from .videos import check_seconds, find_videos


def predict(
    videos: str | os.PathLike | Iterable[str | os.PathLike] | None = None,
    config: str | os.PathLike | Config | None = None,
    checkpoint: str | os.PathLike | None = None,
    *,
    window: float | None = None,
    stride: float | None = None,
    **options: Any,
) -> Iterator[Prediction]:
    """Predict the actions in videos.

    Args:
        videos: One or more videos or folders of videos. Default: None, the sample clip
            of this package.
        config: See :class:`Predictor`.
        checkpoint: See :class:`Predictor`.
        window: Seconds per window of a longer video. Default: None, the whole video is
            one clip, as in ``test.py``.
        stride: Seconds between the starts of windows. Default: None, ``window``.
        options: Other arguments of :class:`Predictor`.

    Returns:
        An iterator over the predictions, one per video or window, in order. All
        arguments are checked and the network is loaded before it is returned.

    Raises:
        FileNotFoundError: If a video, config or checkpoint does not exist.
        ValueError: If an argument is wrong, or the checkpoint is not one of the config.
        UnreadableError: While iterating, if a video cannot be decoded.

    Example:
        >>> from selfy_mmaction.inference import predict
        >>> for result in predict(window=1, top_k=1, device='cpu'):  # the sample clip
        ...     print(result.start, result.end, result.top[0].name)
        0.0 1.0 go_right
        1.0 2.0 go_right
    """
    found = find_videos(SAMPLE_CLIP if videos is None else videos)
    check_seconds(window, stride)
    predictor = Predictor(config, checkpoint, **options)
    return (
        result for video in found for result in predictor.predict(video, window, stride)
    )


class Predictor:
    """A network with its test pipeline and class names.

    It uses mmaction2's ``init_recognizer``, the pipeline of the config and the
    network's own ``test_step``, so the probabilities are those of ``test.py``.

    Args:
        config: Config of any recognizer of videos: a path, a name such as
            ``'mmaction::recognition/tsn/NAME.py'``, or a ``Config``. Default: None, the
            network in this package.
        checkpoint: Path or URL of its weights. Default: None, the network in this
            package.
        classes: Class names, or a file with one per line. Default: None, those in the
            checkpoint, else those of the config, else class indices.
        top_k: Number of classes in a prediction, at least 1; at most as many as the
            network has are given. Default: 5.
        device: Device. Default: None, the first GPU, or the CPU if there is none.
        batch_size: Number of windows that are decoded and predicted together. Default:
            8.

    Attributes:
        class_names: Names of all classes, in the order of the labels.
        model: The network.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If an argument is wrong, or the checkpoint is not one of the config.

    Example:
        >>> from selfy_mmaction.checkpoints import SAMPLE_CLIP
        >>> from selfy_mmaction.inference import Predictor
        >>> predictor = Predictor(device='cpu', top_k=3)  # the network in this package
        >>> (result,) = predictor.predict(SAMPLE_CLIP)
        >>> [best.name for best in result.top]
        ['go_right', 'back_left', 'back_right']
        >>> result.probabilities.shape == (len(predictor.class_names),)
        True
    """

    def __init__(
        self,
        config: str | os.PathLike | Config | None = None,
        checkpoint: str | os.PathLike | None = None,
        *,
        classes: str | os.PathLike | Sequence[str] | None = None,
        top_k: int = 5,
        device: str | torch.device | None = None,
        batch_size: int = 8,
    ) -> None:
        self.top_k = check_int('top_k', top_k, least=1)
        self.batch_size = check_int('batch_size', batch_size, least=1)
        if isinstance(classes, (str, os.PathLike)):
            read_class_names(str(classes))  # fail before the network is loaded
        config, checkpoint = choose_files(config, checkpoint)
        read, name = read_config(config)
        self.pipeline = VideoPipeline(read, name)
        device = choose_device(device)
        weights, meta = load_checkpoint(checkpoint)
        self.model: Any = build_network(read, name, checkpoint, weights, device)
        head = getattr(self.model, 'cls_head', None)
        self.num_classes: int = getattr(head, 'num_classes', 0)
        if not self.num_classes:
            raise ValueError(
                f'the network of {name} has no cls_head with num_classes; only '
                'networks that classify videos can predict'
            )
        self.class_names = find_class_names(classes, meta, read, self.num_classes)

    def predict(
        self,
        video: str | os.PathLike,
        window: float | None = None,
        stride: float | None = None,
    ) -> Iterator[Prediction]:
        """Predict for a video or, if it is longer than a window, for its windows.

        The frames of at most ``batch_size`` windows are in memory at once.

        Args:
            video: Path of the video.
            window: Seconds per window. Default: None, the whole video is one clip.
            stride: Seconds between the starts of windows. Default: None, ``window``.

        Yields:
            One prediction per window, in order.

        Raises:
            UnreadableError: If the video cannot be decoded.
        """
        check_seconds(window, stride)
        video = os.fspath(video)
        try:
            begin = time.perf_counter()
            opened = self.pipeline.open(video)
            batches = opened.read(opened.cut(window, stride), self.batch_size)
            for batch in batches:
                decode = (time.perf_counter() - begin) / len(batch)
                scores, model = self._run([inputs for _, inputs, _ in batch])
                for (one, _, note), score in zip(batch, scores, strict=True):
                    yield self._prediction(
                        video, one.start, one.end, score, decode, model, note
                    )
                begin = time.perf_counter()
        except UnreadableError as error:
            reason = str(error).removeprefix('ValueError: ')
            raise UnreadableError(f'{video} cannot be read: {reason}') from error

    def predict_frames(self, frames: Any, source: str = 'frames') -> Prediction:
        """Predict for frames in memory, as one clip.

        Args:
            frames: (T, H, W, 3), uint8, RGB: an array or any sequence of frames.
            source: ``video`` of the prediction. Default: ``'frames'``.
        """
        begin = time.perf_counter()
        inputs = self.pipeline.run_on_frames(frames)
        decode = time.perf_counter() - begin
        scores, model = self._run([inputs])
        return self._prediction(source, 0.0, None, scores[0], decode, model, '')

    def predict_clip(self, clip: Clip, source: str = 'clip') -> Prediction:
        """Predict for a clip that the pipeline has read.

        Args:
            clip: Result of :meth:`OpenVideo.read_clip`.
            source: ``video`` of the prediction. Default: ``'clip'``.
        """
        scores, model = self._run([clip.inputs])
        _, _, start, end = clip.window
        return self._prediction(source, start, end, scores[0], 0.0, model, clip.note)

    def _run(self, inputs: list[dict[str, Any]]) -> tuple[np.ndarray, float]:
        """Return probabilities, (N, C), and the seconds per clip."""
        begin = time.perf_counter()
        with torch.no_grad():
            samples = self.model.test_step(pseudo_collate(inputs))
        scores = np.stack(
            [class_probabilities(s, self.model.cls_head) for s in samples]
        )
        return scores, (time.perf_counter() - begin) / len(inputs)

    def _prediction(
        self,
        video: str,
        start: float,
        end: float | None,
        probabilities: np.ndarray,
        decode: float,
        model: float,
        note: str,
    ) -> Prediction:
        best = np.argsort(-probabilities, kind='stable')[: self.top_k]
        top = tuple(
            ClassProbability(int(i), self.class_names[i], float(probabilities[i]))
            for i in best
        )
        return Prediction(video, start, end, top, probabilities, decode, model, note)


def class_probabilities(sample: Any, head: Any) -> np.ndarray:
    """Return the probabilities of a clip, averaged over its views.

    Args:
        sample: Result of ``test_step`` for the clip.
        head: ``cls_head`` of the network.

    Returns:
        Probability of each class, (C,), float64; their sum is 1.
    """
    # With average_clips='score' and None, heads return scores before the softmax,
    # and with None, those of each view of the clip.
    score = sample.pred_score.detach().cpu().double()
    if getattr(head, 'average_clips', None) != 'prob':
        score = score.softmax(dim=-1)
    mean = score.reshape(-1, head.num_classes).mean(dim=0).numpy()
    return mean / mean.sum()  # the network's softmax is in single precision
