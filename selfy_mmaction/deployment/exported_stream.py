# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""One step of a stream as a function of tensors, from a frame to probabilities."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from selfy_mmaction.ops import check_choice

from .exported_network import Exportable
from .frame_stream import FrameStream
from .sliding_windows import SlidingWindowRecognizer
from .streaming import StreamingRecognizer

STREAMS = ('exact', 'window')


class StateTensor(NamedTuple):
    """A tensor of the state of N streams.

    Attributes:
        holds: What it is, such as 'blocks.0.maps'.
        shape: Its shape for one stream.
        dtype: Its data type.
        batched: Whether the first dimension is N. Otherwise all streams share it.
    """

    holds: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    batched: bool


class ExportedStream(Exportable):
    """Maps one more frame of each stream and their state to probabilities and state.

    The inputs are ``frame`` and ``state_0``, ``state_1``, ...; the outputs are
    ``probabilities`` and ``next_state_0``, ``next_state_1``, ..., which are the state
    of the next step. All zeros are the state before the first frame. Tensors of the
    state that are always empty, such as those of a delay of 0, are left out.

    Args:
        model: See :class:`Exportable`.
        size: Height and width of the frames.
        mode: 'exact' for
            :class:`~selfy_mmaction.deployment.streaming.StreamingRecognizer`, 'window'
            for
            :class:`~selfy_mmaction.deployment.sliding_windows.SlidingWindowRecognizer`.
            Default: 'exact'.
        average_frames: See ``StreamingRecognizer``; windows ignore it. Default: None.
        takes: See :class:`Exportable`. Default: 'frames'.

    Raises:
        ValueError: If the recognizer cannot stream, or an argument is invalid.

    Attributes:
        stream: The recognizer as a stream.
        state: What the tensors of the state are.
    """

    def __init__(
        self,
        model: Any,
        size: tuple[int, int],
        mode: str = 'exact',
        average_frames: int | None = None,
        takes: str = 'frames',
    ) -> None:
        super().__init__(model, takes)
        self.mode = check_choice('mode', mode, STREAMS)
        self.size = size
        self.average_frames = average_frames
        self.stream: Any = self.stream_of(self.model)
        # This also caches sizes that exporters could not measure.
        self._kept = [tensor.numel() > 0 for _, tensor in _tensors(self._clean(1))]
        pairs = zip(self.clean_state(1), self.clean_state(2), strict=True)
        self.batched = (True, *(one.shape != two.shape for one, two in pairs))
        names = [f'state_{index}' for index in range(sum(self._kept))]
        self.inputs = ('frame', *names)
        self.outputs = ('probabilities', *(f'next_{name}' for name in names))

    @property
    def state(self) -> list[StateTensor]:
        """What the tensors of the state are, in order."""
        named = zip(_tensors(self._clean(1)), self._kept, strict=True)
        found = [one for one, kept in named if kept]
        return [
            StateTensor(holds, tuple(tensor.shape), tensor.dtype, batched)
            for (holds, tensor), batched in zip(found, self.batched[1:], strict=True)
        ]

    def stream_of(self, model: Any) -> FrameStream:
        """Create the same stream for another copy of the recognizer."""
        if self.mode == 'exact':
            return StreamingRecognizer(model, self.average_frames)
        return SlidingWindowRecognizer(model)

    def clean_state(self, streams: int) -> tuple[Tensor, ...]:
        """Create the state of streams before their first frame."""
        return self._pick(self._clean(streams))

    def forward(self, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Classify streams after one more frame.

        Args:
            frame: One frame of each stream, (N, 3, H, W).
            state: Tensors of the state.

        Returns:
            Probability of each class, (N, classes), float32, without meaning for the
            first ``stream.delay`` frames; and the tensors of the next state.
        """
        given = iter(state)
        clean = self._clean(frame.size(0))
        past = [
            next(given) if kept else tensor
            for (_, tensor), kept in zip(_tensors(clean), self._kept, strict=True)
        ]
        scores, following = self.stream.advance(
            self._prepare(frame), _replace(clean, iter(past))
        )
        return (scores.softmax(-1), *self._pick(following))

    def _pick(self, state: Any) -> tuple[Tensor, ...]:
        """Return the tensors of a state that are never empty."""
        pairs = zip(_tensors(state), self._kept, strict=True)
        return tuple(tensor for (_, tensor), kept in pairs if kept)

    def _clean(self, streams: int) -> Any:
        return self.stream.clean_state((streams, 3, *self.size))


def _tensors(state: Any, name: str = '') -> Iterator[tuple[str, Tensor]]:
    """Return the tensors of nested tuples with their names."""
    if isinstance(state, Tensor):
        yield name, state
        return
    for field, part in zip(
        getattr(state, '_fields', range(len(state))), state, strict=True
    ):
        yield from _tensors(part, f'{name}.{field}' if name else str(field))


def _replace(state: Any, tensors: Iterator[Tensor]) -> Any:
    """Return nested tuples with other tensors."""
    if isinstance(state, Tensor):
        return next(tensors)
    parts = [_replace(part, tensors) for part in state]
    return state._make(parts) if hasattr(state, '_make') else tuple(parts)
