# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What the ways to run a recognizer on a stream of frames have in common."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from selfy_mmaction.models.backbones.causal_shift import CausalShift

from .block_frames import reduce
from .shifted_layers import shift_clips, shifted_channels
from .streamable import check_evaluation, frame_scores, split

State = TypeVar('State', bound=Any)


class Sizes(NamedTuple):
    """Shapes of one frame inside the network.

    Attributes:
        features: (C, H, W) before each block.
        maps: (C_m, h, w) in each block.
        shifts: (C // shift_div, H, W) that each causal shift moves.
    """

    features: list[torch.Size]
    maps: list[torch.Size]
    shifts: list[torch.Size]


class FrameStream(nn.Module, Generic[State]):
    """Runs a recognizer frame by frame.

    The state is a tuple of tensors that each step takes and returns, so several streams
    can use one network, and an exported step can have it as input and output. No
    gradients are computed.

    Args:
        network: Trained recognizer in evaluation mode, see
            :func:`~selfy_mmaction.deployment.streamable.split`. It is not copied.

    Raises:
        ValueError: If the network cannot stream; names the part and the reason.

    Attributes:
        network: The recognizer.
        delay: Number of frames for which there is no result yet.
    """

    delay: int

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._first, *self._parts = split(network)
        self.network: Any = network
        self._blocks: list[Any] = [
            part.block for part in (self._first, *self._parts) if part.block
        ]
        self._sizes: dict[tuple[int, int], Sizes] = {}
        super().train(False)

    def train(self, mode: bool = True) -> 'FrameStream':
        """Refuse the training mode, which cannot stream.

        Raises:
            ValueError: If ``mode`` is True.
        """
        if mode:
            raise ValueError('a stream has no training mode; train the recognizer')
        return super().train(False)

    @torch.no_grad()
    def forward(self, clip: Tensor) -> Tensor:
        """Run the offline network on a clip of any length.

        Args:
            clip: Normalized frames, (N, T, 3, H, W).

        Returns:
            Scores before the softmax, (N, classes), as with ``num_segments=T``.

        Raises:
            ValueError: If ``clip`` is not like that, or the network is in training
                mode.
        """
        self._check_frames('clip', clip, 5)
        scores = self._frame_scores(self._offline_features(clip))
        return scores.unflatten(0, clip.shape[:2]).mean(1)

    @torch.no_grad()
    def forward_step(
        self, frame: Tensor, state: State | None = None
    ) -> tuple[Tensor | None, State]:
        """Run the network on one more frame.

        Args:
            frame: Normalized frames of N streams, (N, 3, H, W).
            state: State that the last step returned. Default: None, the beginning of
                the streams.

        Returns:
            Scores before the softmax, (N, classes), None for the first :attr:`delay`
            frames; and the state.

        Raises:
            ValueError: If ``frame`` is not like that, has another shape than the frames
                before, or the network is in training mode.
        """
        scores, state = self.advance(frame, state)
        return (scores if int(state.frames) > self.delay else None), state

    @torch.no_grad()
    def advance(self, frame: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Do the same as :meth:`forward_step` without control flow, for exporters.

        The scores of the first :attr:`delay` frames have no meaning.

        Args:
            frame: See :meth:`forward_step`.
            state: See :meth:`forward_step`.

        Returns:
            Scores, (N, classes), and the state.
        """
        self._check_frames('frame', frame, 4)
        if state is None:
            state = self.clean_state(frame.shape)
        else:
            self._check_state(frame, state)
        return self._advance(frame, state)

    def clean_state(self, shape: Sequence[int]) -> State:
        """Create the state before the first frame.

        For each size of frames, the first call runs the network on one frame.

        Args:
            shape: Shape of the frames, (N, 3, H, W).

        Returns:
            The state; all zeros.
        """
        parameter = next(self.network.parameters())
        sizes = self._measure(shape[-2], shape[-1], parameter)
        return self._clean(shape[0], sizes, parameter)

    @abstractmethod
    def _advance(self, frame: Tensor, state: State) -> tuple[Tensor, State]:
        """Do the same as :meth:`advance`, with arguments that were checked."""

    @abstractmethod
    def _clean(self, streams: int, sizes: Sizes, like: Tensor) -> State:
        """Create the state of N streams with the dtype and device of ``like``."""

    def _steps(
        self, frames: Tensor, state: State | None
    ) -> tuple[list[Tensor | None], State]:
        """Return the result after each frame, and the state."""
        self._check_frames('frames', frames, 5)
        if state is None:
            state = self.clean_state(frames[:, 0].shape)
        results = []
        for frame in frames.unbind(1):
            result, state = self.forward_step(frame, state)
            results.append(result)
        return results, state

    def _stack(self, results: Sequence[Tensor | None], state: State) -> Tensor:
        """Stack the results of steps, (N, F', classes); F' may be 0."""
        found = [result for result in results if result is not None]
        if found:
            return torch.stack(found, 1)
        streams, _, classes = state.scores.shape
        return state.scores.new_zeros(streams, 0, classes)

    def _frame_scores(self, x: Tensor) -> Tensor:
        scores = frame_scores(self.network.cls_head, x)
        # Sums over many frames need more than half precision.
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def _offline_features(self, clip: Tensor) -> Tensor:
        """Return the features of the last stage, (N*T, C, H, W)."""
        frames = clip.size(1)
        shift = shift_clips(frames)
        x = self._first.run(clip.flatten(0, 1), shift)
        for block, part in zip(self._blocks, self._parts, strict=True):
            x = part.run(block(x, num_segments=frames), shift)
        return x

    @torch.no_grad()
    def _measure(self, height: int, width: int, like: Tensor) -> Sizes:
        if (height, width) not in self._sizes:
            sizes = Sizes([], [], [])

            def shift(module: CausalShift, x: Tensor) -> Tensor:
                sizes.shifts.append(shifted_channels(module, x).shape[1:])
                return x

            x = self._first.run(like.new_zeros(1, 3, height, width), shift)
            for block, part in zip(self._blocks, self._parts, strict=True):
                sizes.features.append(x.shape[1:])
                sizes.maps.append(reduce(block, x).shape[1:])
                x = part.run(x, shift)  # the block keeps the shape
            self._sizes[height, width] = sizes
        return self._sizes[height, width]

    def _check_frames(self, name: str, frames: Tensor, dims: int) -> None:
        check_evaluation(self.network)
        shape = '(N, 3, H, W)' if dims == 4 else '(N, T, 3, H, W)'
        if frames.dim() != dims or frames.size(-3) != 3 or 0 in frames.shape:
            raise ValueError(
                f'{name} has shape {tuple(frames.shape)}, expected {shape}'
            )
        if not frames.is_floating_point():
            raise ValueError(
                f'{name} is {frames.dtype}, expected normalized frames; normalize them '
                'with network.data_preprocessor'
            )

    def _check_state(self, frame: Tensor, state: State) -> None:
        """Compare the shapes of a state with those of a clean one."""
        sizes = self._measure(frame.size(-2), frame.size(-1), frame)
        # Not len(), which exporters take for a constant.
        expected = self._clean(frame.size(0), sizes, torch.empty(0, device='meta'))
        shapes = _shapes(state)
        if shapes != _shapes(expected):
            raise ValueError(
                f'frame has shape {tuple(frame.shape)}, but state has tensors '
                f'{shapes} instead of {_shapes(expected)}; give the state of the last '
                'step, or None when the number or size of the frames changes'
            )


def _shapes(state: Any) -> list[tuple[int, ...]]:
    if isinstance(state, Tensor):
        return [tuple(state.shape)]
    return [shape for part in state for shape in _shapes(part)]
