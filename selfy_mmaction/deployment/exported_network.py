# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""A recognizer as a function of tensors, from frames to probabilities."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from selfy_mmaction.ops import check_choice

from .exportable_models import check_kind

INPUTS = ('frames', 'normalized')


class Exportable(nn.Module):
    """A copy of a recognizer as a function of tensors; base of what is exported.

    Args:
        model: The recognizer, in evaluation mode. It is copied.
        takes: 'frames' for uint8 frames, normalized inside, or 'normalized' for float32
            frames. Default: 'frames'.

    Raises:
        ValueError: If the recognizer or its data preprocessor is of another kind;
            names the class.

    Attributes:
        model: The copy.
        inputs: Name of each input.
        outputs: Name of each output.
        batched: Whether the first dimension of each input is the batch.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batched: tuple[bool, ...]

    def __init__(self, model: Any, takes: str = 'frames') -> None:
        super().__init__()
        self.takes = check_choice('takes', takes, INPUTS)
        check_kind(model)
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.eval()  # freezing requires it

    def to_half(self) -> None:
        """Compute in float16, except for the normalization."""
        for name, part in self.model.named_children():
            if name != 'data_preprocessor':
                part.half()

    def normalize(self, frames: Tensor) -> Tensor:
        """Normalize uint8 frames as the data preprocessor does.

        Args:
            frames: Frames of clips, see :meth:`ExportedNetwork.forward`, or single
                frames, (N, 3, H, W); uint8.

        Returns:
            The same shape, float32.
        """
        preprocessor = self.model.data_preprocessor
        # Not mmaction2's forward, which stacks a list of clips.
        frames = frames.float()
        channels = 1 if frames.dim() == 4 else 2  # dimension
        if preprocessor.to_rgb:
            frames = frames.flip(channels)
        if not preprocessor._enable_normalize:
            return frames
        shape = [-1 if dim == channels else 1 for dim in range(frames.dim())]
        return (frames - preprocessor.mean.view(shape)) / preprocessor.std.view(shape)

    def _prepare(self, frames: Tensor) -> Tensor:
        """Return what the backbone takes."""
        x = self.normalize(frames) if self.takes == 'frames' else frames
        return x.to(next(self.model.parameters()).dtype)


class ExportedNetwork(Exportable):
    """Maps the clips of a batch to the probabilities of their classes.

    The steps are those of the recognizer's ``test_step``: normalization, backbone,
    neck, head, and the average over the views of a clip by ``average_clips`` of the
    head. The probabilities are those of
    :class:`~selfy_mmaction.inference.Predictor`.

    Args:
        model: See :class:`Exportable`.
        example: Packed inputs of one clip, uint8, as the test pipeline returns them.
        takes: See :class:`Exportable`. Default: 'frames'.

    Raises:
        ValueError: See :class:`Exportable`.

    Attributes:
        num_views: Number of views per clip.
    """

    inputs = ('frames',)
    outputs = ('probabilities',)
    batched = (True,)

    def __init__(self, model: Any, example: Tensor, takes: str = 'frames') -> None:
        super().__init__(model, takes)
        # It only limits the memory; its loop would fix the batch size.
        if self.model.test_cfg is not None:
            self.model.test_cfg = {
                **self.model.test_cfg,
                'max_testing_views': None,
            }
        with torch.no_grad():
            scores = self._scores(self.normalize(example[None]))
        if scores.dim() != 2:
            raise ValueError(
                f'{type(model.cls_head).__name__} returns scores of shape '
                f'{tuple(scores.shape)}, expected (views, classes)'
            )
        self.num_views = len(scores)

    def forward(self, frames: Tensor) -> Tensor:
        """Classify clips.

        Args:
            frames: Frames of the clips: (N, views * T, 3, H, W) for recognizers of
                frames, (N, views, 3, T, H, W) for recognizers of clips.

        Returns:
            Probability of each class, (N, classes), float32.
        """
        scores = self._scores(self._prepare(frames)).float()
        if self.model.cls_head.average_clips == 'score':
            return scores.unflatten(0, (-1, self.num_views)).mean(1).softmax(-1)
        probabilities = scores.softmax(-1)
        return probabilities.unflatten(0, (-1, self.num_views)).mean(1)

    def _scores(self, x: Tensor) -> Tensor:
        """Return the scores of each view, (N * views, classes)."""
        feats, options = self.model.extract_feat(x, test_mode=True)
        return self.model.cls_head(feats, **options)
