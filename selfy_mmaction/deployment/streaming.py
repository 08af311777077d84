# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Exact streaming: a network on a sequence of any length, frame by frame."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from selfy_mmaction.models import SELFYBlock
from selfy_mmaction.ops import check_int

from .block_frames import finish, match, reach, reduce
from .frame_stream import FrameStream, Sizes
from .shifted_layers import FrameShifts


class BlockState(NamedTuple):
    """What a block needs of the past.

    Attributes:
        maps: Maps of the last K frames, oldest first, (N, K, C_m, h, w); zeros where
            there is no frame. K is the distance between the first and the last frame
            that the block sees at once.
        inside: Which of them exist, (K,), bool.
        features: Visual features of the delayed frames, (N, delay, C, H, W).
    """

    maps: Tensor
    inside: Tensor
    features: Tensor


class StreamState(NamedTuple):
    """State of N streams.

    Attributes:
        blocks: State of each block.
        scores: Scores of the last ``average_frames - 1`` frames, oldest first,
            (N, average_frames - 1, classes), or, if all are averaged, their average,
            (N, 1, classes).
        frames: Number of frames that were given, int64 on the CPU.
        shifts: Channels of the last frame that each causal shift moves to the next one,
            (N, C // shift_div, H, W), in the order of the network; zeros where there is
            no frame. Empty for TSN.
    """

    blocks: tuple[BlockState, ...]
    scores: Tensor
    frames: Tensor
    shifts: tuple[Tensor, ...] = ()


class StreamingRecognizer(FrameStream[StreamState]):
    """Steps through a sequence with the results of the offline network.

    After N frames, the scores are those of the offline network with ``num_segments=N``
    for all frames up to ``delay`` frames ago. Each layer runs once per frame. A block
    waits for the frames that its largest offset needs; the delays of several blocks
    add up. A causal shift waits for nothing.

    Args:
        network: Trained recognizer in evaluation mode; see
            :class:`~selfy_mmaction.deployment.frame_stream.FrameStream`.
        average_frames: Number of frames whose scores are averaged: the last ones.
            Default: None, all frames since the beginning.

    Raises:
        ValueError: If the network cannot stream, or ``average_frames`` is invalid.

    Attributes:
        delay: Number of frames between a frame and its result.

    Example:
        >>> import torch
        >>> from selfy_mmaction.deployment.streaming import StreamingRecognizer
        >>> from selfy_mmaction.inference import Predictor
        >>> network = Predictor(device='cpu').model  # the network in this package
        >>> stream, state = StreamingRecognizer(network, average_frames=8), None
        >>> for frame in torch.randn(4, 1, 3, 64, 64):
        ...     scores, state = stream.forward_step(frame, state)
        ...     print(None if scores is None else scores.shape)
        None
        None
        torch.Size([1, 12])
        torch.Size([1, 12])
    """

    def __init__(self, network: nn.Module, average_frames: int | None = None) -> None:
        super().__init__(network)
        if average_frames is not None:
            check_int('average_frames', average_frames)
        self.average_frames = average_frames
        self.delay = sum(reach(block)[1] for block in self._blocks)

    @torch.no_grad()
    def forward_steps(
        self, frames: Tensor, state: StreamState | None = None, pad_end: bool = False
    ) -> tuple[Tensor, StreamState]:
        """Run the network on several more frames.

        Args:
            frames: Normalized frames, (N, F, 3, H, W).
            state: State that the last step returned. Default: None, the beginning of
                the streams.
            pad_end: Whether the streams end here, so that the delayed frames get their
                results, too. Default: False.

        Returns:
            Scores after each frame that has a result, (N, F', classes); and the state
            after the last of ``frames``, from which the streams can go on even with
            ``pad_end``.

        Raises:
            ValueError: See :meth:`forward_step`.
        """
        results, state = self._steps(frames, state)
        if pad_end:
            results += self._end(state)
        return self._stack(results, state), state

    def _end(self, state: StreamState) -> list[Tensor]:
        """Return the results of the delayed frames of streams that end."""
        results = []
        for _ in range(self.delay):
            features = state.blocks[0].features
            nothing = features.new_zeros(len(features), *features.shape[2:])
            inside = torch.zeros((), dtype=torch.bool, device=features.device)
            first = len(self._first.shifts)
            shifts = FrameShifts(state.shifts[first:])
            shifts.kept += state.shifts[:first]
            result, state = self._continue(nothing, inside, shifts, state)
            if int(state.frames) > self.delay:
                results.append(result)
        return results

    def _advance(self, frame: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
        inside = frame.new_ones((), dtype=torch.bool)
        shifts = FrameShifts(state.shifts)
        x = self._first.run(frame, shifts.of(inside))
        return self._continue(x, inside, shifts, state)

    def _continue(
        self, x: Tensor, inside: Tensor, shifts: FrameShifts, state: StreamState
    ) -> tuple[Tensor, StreamState]:
        """Continue after the first part, whose output is x, (N, C, H, W)."""
        states = []
        for block, part, past in zip(
            self._blocks, self._parts, state.blocks, strict=True
        ):
            x, inside, past = _step(block, x, inside, past)
            states.append(past)
            x = part.run(x, shifts.of(inside))
        frames = state.frames + 1
        scores = self._frame_scores(x)
        average, kept = self._average(scores, inside, state.scores, frames - self.delay)
        return average, StreamState(tuple(states), kept, frames, tuple(shifts.kept))

    def _average(
        self, scores: Tensor, inside: Tensor, past: Tensor, results: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the average over the frames, and what to keep for the next one."""
        if self.average_frames is None:
            change = (scores - past[:, 0]) / results.clamp(min=1)
            average = past[:, 0] + change.where(inside, 0)
            return average, average[:, None]
        recent = torch.cat([past, scores.where(inside, 0)[:, None]], 1)
        number = results.clamp(1, self.average_frames)
        return recent.sum(1) / number, recent[:, 1:]

    def _clean(self, streams: int, sizes: Sizes, like: Tensor) -> StreamState:
        blocks = []
        for block, feature_size, map_size in zip(
            self._blocks, sizes.features, sizes.maps, strict=True
        ):
            back, ahead = reach(block)
            kept = back + ahead
            state = BlockState(
                like.new_zeros(streams, kept, *map_size),
                like.new_zeros(kept, dtype=torch.bool),
                like.new_zeros(streams, ahead, *feature_size),
            )
            blocks.append(state)
        number = 1 if self.average_frames is None else self.average_frames - 1
        dtype = torch.promote_types(like.dtype, torch.float32)
        classes = self.network.cls_head.num_classes
        scores = like.new_zeros(streams, number, classes, dtype=dtype)
        frames = torch.zeros((), dtype=torch.int64)
        shifts = tuple(like.new_zeros(streams, *size) for size in sizes.shifts)
        return StreamState(tuple(blocks), scores, frames, shifts)


def _step(
    block: SELFYBlock, x: Tensor, inside: Tensor, past: BlockState
) -> tuple[Tensor, Tensor, BlockState]:
    """Run a block on one more frame.

    Args:
        block: The block.
        x: Its visual features, (N, C, H, W).
        inside: Whether it is a frame of the streams, (), bool.
        past: State of the block.

    Returns:
        Output for the frame ``delay`` frames ago, (N, C, H, W); whether that is a frame
        of the streams; and the state.
    """
    newest = reduce(block, x).where(inside, 0)
    maps = torch.cat([past.maps, newest[:, None]], 1)
    exist = torch.cat([past.inside, inside[None]])
    features = torch.cat([past.features, x[:, None]], 1)
    frame, _ = reach(block)
    stss = match(block.transformation, maps, [frame], exist)
    # A copy, not a slice: torch.export excludes N = 1 when it flattens a slice.
    out = finish(block, features[:, [0]], stss)[:, 0]
    return out, exist[frame], BlockState(maps[:, 1:], exist[1:], features[:, 1:])
