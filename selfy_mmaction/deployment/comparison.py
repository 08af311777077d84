# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Comparison of an exported file with the network, on frames of a video."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from torch import Tensor

from selfy_mmaction.inference import Predictor
from selfy_mmaction.inference.predictor import class_probabilities
from selfy_mmaction.inference.videos import Window

from .exported_stream import ExportedStream
from .formats import ExportError, Run

#: Largest difference of log probabilities that is allowed, by precision. Rounding of
#: float32 causes about 1e-5, a lost operator far more than the first.
TOLERANCES = {'single': 1e-3, 'half': 0.1}
# The smallest probability that is compared: logarithms amplify rounding below it.
_LEAST = 1e-6


@dataclass(frozen=True)
class Comparison:
    """How an exported file differs from the network.

    Attributes:
        batches: Numbers of clips, or of streams, that ran at once.
        largest_difference: Largest difference of a probability.
        largest_log_difference: Largest difference of its natural logarithm.
        top1_agreement: Fraction of results with the same most probable class.
        tolerance: Largest logarithmic difference allowed.
        steps: Frames per stream, or None for clips.
    """

    batches: tuple[int, ...]
    largest_difference: float
    largest_log_difference: float
    top1_agreement: float
    tolerance: float
    steps: int | None = None

    @property
    def passed(self) -> bool:
        """Whether the file may replace the network."""
        # A difference that is NaN is not within the tolerance.
        return (
            self.largest_log_difference <= self.tolerance and self.top1_agreement == 1
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes."""
        return asdict(self)


def read_clips(predictor: Predictor, video: str) -> list[dict[str, Any]]:
    """Read four different parts of a video through the test pipeline.

    Args:
        predictor: The network with its pipeline.
        video: Path of the video.

    Returns:
        The packed inputs of the whole video, its first half, its middle and its last
        half.

    Raises:
        UnreadableError: If it cannot be decoded.
    """
    opened = predictor.pipeline.open(video)
    total = opened.total_frames
    half = max(1, total // 2)
    windows = [
        Window(first, length, 0.0, None)
        for first, length in (
            (0, total),
            (0, half),
            (total // 4, half),
            (total - half, half),
        )
    ]
    (batch,) = opened.read(windows, len(windows))
    return [inputs for _, inputs, _ in batch]


def compare(
    run: Run,
    predictor: Predictor,
    clips: list[dict[str, Any]],
    inputs: Tensor,
    batches: tuple[int, ...],
    tolerance: float,
) -> Comparison:
    """Compare an exported file with the network's own ``test_step``.

    Args:
        run: The exported file.
        predictor: The network, in single precision.
        clips: Packed inputs of clips.
        inputs: The same clips as the file takes them.
        batches: Numbers of clips to run at once.
        tolerance: Largest logarithmic difference allowed, such as one of
            ``TOLERANCES``.

    Raises:
        ExportError: If the file cannot run a batch.
    """
    with torch.no_grad():
        # A copy, because the data preprocessor changes the samples.
        samples = predictor.model.test_step(pseudo_collate([dict(c) for c in clips]))
    expected = np.stack(
        [class_probabilities(s, predictor.model.cls_head) for s in samples]
    )
    found, wanted = [], []
    for size in batches:
        for first in range(0, max(len(clips) - size, 0) + 1, size):
            chosen = np.arange(first, first + size) % len(clips)
            found.append(_run(run, predictor, inputs[chosen].numpy()))
            wanted.append(expected[chosen])
    return _compare(found, wanted, batches, tolerance)


def compare_stream(
    run: Run,
    network: ExportedStream,
    predictor: Predictor,
    clips: list[dict[str, Any]],
    inputs: Tensor,
    batches: tuple[int, ...],
    tolerance: float,
) -> Comparison:
    """Compare an exported step with the recognizer as a stream, after each frame.

    The streams join the clips, each from another one on, and are longer than a clip.

    Args:
        run: See :func:`compare`.
        network: What was exported.
        predictor: See :func:`compare`.
        clips: See :func:`compare`.
        inputs: Frames of the same clips, (clips, F, 3, H, W), as the file takes them.
        batches: Numbers of streams to run at once.
        tolerance: See :func:`compare`.
    """
    samples = pseudo_collate([dict(clip) for clip in clips])
    frames = predictor.model.data_preprocessor(samples)['inputs']
    eager = network.stream_of(predictor.model)
    total = inputs.size(1)
    length = getattr(predictor.model.backbone, 'num_segments', None) or total
    steps = eager.delay + 2 * length

    def pick(source: Tensor, step: int, streams: int) -> Tensor:
        first = torch.arange(streams)
        return source[(first + step // total) % len(clips), step % total]

    expected = []
    state = None
    for step in range(steps):
        scores, state = eager.forward_step(pick(frames, step, max(batches)), state)
        if scores is not None:
            expected.append(scores.double().softmax(-1).numpy())
    found, wanted = [], []
    for size in batches:
        tensors = [tensor.numpy() for tensor in network.clean_state(size)]
        for step in range(steps):
            frame = pick(inputs, step, size).numpy()
            result, *tensors = _run(run, predictor, frame, *tensors)
            if step >= eager.delay:
                found.append(result)
                wanted.append(expected[step - eager.delay][:size])
    return replace(_compare(found, wanted, batches, tolerance), steps=steps)


def _run(run: Run, predictor: Predictor, *arrays: np.ndarray) -> Any:
    try:
        return run(*arrays)
    except Exception as error:  # each runtime has its own errors
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise ExportError(
            f'{type(predictor.model.backbone).__name__} was exported, but the file '
            f'cannot run a batch of {len(arrays[0])}: {type(error).__name__}: '
            f'{" ".join(lines[-2:])[:400]}'
        ) from error


def _compare(
    found: list[np.ndarray],
    wanted: list[np.ndarray],
    batches: tuple[int, ...],
    tolerance: float,
) -> Comparison:
    actual, reference = np.concatenate(found).astype(float), np.concatenate(wanted)
    logs = [np.log(np.maximum(x, _LEAST)) for x in (actual, reference)]
    return Comparison(
        batches,
        float(np.abs(actual - reference).max()),
        float(np.abs(logs[0] - logs[1]).max()),
        float((actual.argmax(-1) == reference.argmax(-1)).mean()),
        tolerance,
    )
