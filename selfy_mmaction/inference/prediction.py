# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The result for one video or one window of a video."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


class ClassProbability(NamedTuple):
    """One class of a prediction.

    Attributes:
        label: Class index.
        name: Class name, or the class index as text if the names are unknown.
        probability: Probability, 0 to 1.

    Example:
        >>> from selfy_mmaction.inference import ClassProbability
        >>> best = ClassProbability(label=2, name='up_left', probability=0.75)
        >>> f'{best.name}: {best.probability:.0%}'
        'up_left: 75%'
    """

    label: int
    name: str
    probability: float


@dataclass(frozen=True, eq=False)
class Prediction:
    """Prediction for a video or for a window of it.

    Attributes:
        video: Path of the video.
        start: First second of the window; 0 for a whole video.
        end: Second at which the window ends; None for a whole video whose frame rate is
            unknown.
        top: The most probable classes, the most probable one first.
        probabilities: Probability of each class, (C,), float64; their sum is 1.
        decode_seconds: Seconds to open, decode and transform the frames. Windows that
            are decoded together share the time equally.
        model_seconds: Seconds of the network, shared in the same way.
        note: What is unusual about the video, or an empty string.

    Example:
        >>> from selfy_mmaction.inference import Predictor
        >>> from selfy_mmaction.motion_benchmark import render_clip
        >>> predictor = Predictor(device='cpu', top_k=1)
        >>> prediction = predictor.predict_frames(render_clip('small', 'val', 0))
        >>> print(prediction)
        frames: go_right 0.998
        >>> prediction.probabilities.shape
        (12,)
    """

    video: str
    start: float
    end: float | None
    top: tuple[ClassProbability, ...]
    probabilities: np.ndarray = field(repr=False)
    decode_seconds: float
    model_seconds: float
    note: str = ''

    def __str__(self) -> str:
        classes = ', '.join(f'{c.name} {c.probability:.3f}' for c in self.top)
        seconds = '' if self.end is None else f' {self.start:.2f}-{self.end:.2f} s'
        note = f' ({self.note})' if self.note else ''
        return f'{self.video}{seconds}: {classes}{note}'

    def as_dict(self) -> dict[str, Any]:
        """Return what a results file contains.

        Seconds are rounded to microseconds; ``probabilities`` is left out.
        """
        return dict(
            video=self.video,
            start=round(self.start, 6),
            end=None if self.end is None else round(self.end, 6),
            top=[each._asdict() for each in self.top],
            decode_seconds=round(self.decode_seconds, 6),
            model_seconds=round(self.model_seconds, 6),
            note=self.note,
        )
