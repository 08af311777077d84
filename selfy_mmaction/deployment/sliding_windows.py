# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Sliding windows: the offline network on the last T frames, with cached features."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from selfy_mmaction.ops import check_int

from .block_frames import finish, match, reach, reduce
from .frame_stream import FrameStream, Sizes


class WindowBlockState(NamedTuple):
    """What a block needs of the last window.

    Both are of the frames before the block that are the same in the next window.

    Attributes:
        maps: Maps, oldest first, (N, K, C_m, h, w).
        features: Visual features, (N, K, C, H, W).
    """

    maps: Tensor
    features: Tensor


class WindowState(NamedTuple):
    """State of N streams.

    Attributes:
        blocks: State of each block.
        scores: Scores of the frames that are the same in the next window, oldest first,
            (N, K, classes).
        frames: Number of frames that were given, int64 on the CPU.
    """

    blocks: tuple[WindowBlockState, ...]
    scores: Tensor
    frames: Tensor


class SlidingWindowRecognizer(FrameStream[WindowState]):
    """Gives the scores of the offline network for the last T frames, after each frame.

    A block sees zeros beyond the first and the last frame of a window, so the frames
    near them change when the window moves. For ``offsets`` from -2 to 2, these are four
    frames, and one frame is new: the layers after the block run on five frames instead
    of T, those before it on one. Each further block adds four frames.

    Args:
        network: Trained recognizer without temporal shifts, in evaluation mode; see
            :class:`~selfy_mmaction.deployment.frame_stream.FrameStream`.
        num_frames: Frames per window, T. Default: None, ``num_segments`` of the
            backbone.

    Raises:
        ValueError: If the network cannot stream, or ``num_frames`` is invalid.

    Attributes:
        delay: T - 1, the number of frames for which there is no whole window.
    """

    def __init__(self, network: nn.Module, num_frames: int | None = None) -> None:
        super().__init__(network)
        shifts = sum(len(part.shifts) for part in (self._first, *self._parts))
        if shifts:
            raise ValueError(
                f'{type(self.network.backbone).__name__} cannot run on sliding '
                f'windows: each of its {shifts} temporal shifts sees nothing before '
                'the first frame of a window, so almost all features change when the '
                'window moves; use StreamingRecognizer'
            )
        if num_frames is None:
            num_frames = getattr(self.network.backbone, 'num_segments', None)
        if num_frames is None:
            name = type(self.network.backbone).__name__
            raise ValueError(f'{name} has no num_segments; give num_frames')
        self.num_frames = check_int('num_frames', num_frames)
        self.delay = self.num_frames - 1

    @torch.no_grad()
    def forward_steps(
        self, frames: Tensor, state: WindowState | None = None
    ) -> tuple[Tensor, WindowState]:
        """Run the network on several more frames.

        Args:
            frames: Normalized frames, (N, F, 3, H, W).
            state: State that the last step returned. Default: None, the beginning of
                the streams.

        Returns:
            Scores of each whole window that ends with one of the frames,
            (N, F', classes); and the state.

        Raises:
            ValueError: See :meth:`forward_step`.
        """
        results, state = self._steps(frames, state)
        return self._stack(results, state), state

    def _advance(self, frame: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        back = ahead = 0  # how far the layers up to here look
        # Features of the frames that are not kept, (N, Q, C, H, W).
        x = self._first.run(frame)[:, None]
        states = []
        for block, part, past in zip(
            self._blocks, self._parts, state.blocks, strict=True
        ):
            maps = reduce(block, x.flatten(0, 1)).unflatten(0, x.shape[:2])
            maps = _complete(maps, past.maps, back)
            features = _complete(x, past.features, back)
            kept = slice(back + 1, back + 1 + past.maps.size(1))
            states.append(WindowBlockState(maps[:, kept], features[:, kept]))
            more_back, more_ahead = reach(block)
            back, ahead = back + more_back, ahead + more_ahead
            frames = self._changed(back, ahead)
            stss = match(block.transformation, maps, frames)
            x = finish(block, features[:, frames], stss)
            x = part.run(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        scores = self._frame_scores(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        scores = _complete(scores, state.scores, back)
        kept = slice(back + 1, back + 1 + state.scores.size(1))
        state = WindowState(tuple(states), scores[:, kept], state.frames + 1)
        return scores.mean(1), state

    def _number_kept(self, back: int, ahead: int) -> int:
        """Return how many frames are the same in the next window.

        Frames that see only frames of the window, except the first of them, which sees
        one that the next window lacks.
        """
        return max(0, self.num_frames - back - ahead - 1)

    def _changed(self, back: int, ahead: int) -> list[int]:
        """Return the frames of a window that are not kept from the last one."""
        kept = self._number_kept(back, ahead)
        if not kept:
            return [*range(self.num_frames)]
        return [*range(back), *range(back + kept, self.num_frames)]

    def _clean(self, streams: int, sizes: Sizes, like: Tensor) -> WindowState:
        back = ahead = 0
        blocks = []
        for block, feature_size, map_size in zip(
            self._blocks, sizes.features, sizes.maps, strict=True
        ):
            kept = self._number_kept(back, ahead)
            state = WindowBlockState(
                like.new_zeros(streams, kept, *map_size),
                like.new_zeros(streams, kept, *feature_size),
            )
            blocks.append(state)
            more_back, more_ahead = reach(block)
            back, ahead = back + more_back, ahead + more_ahead
        classes = self.network.cls_head.num_classes
        dtype = torch.promote_types(like.dtype, torch.float32)
        kept = self._number_kept(back, ahead)
        scores = like.new_zeros(streams, kept, classes, dtype=dtype)
        return WindowState(tuple(blocks), scores, torch.zeros((), dtype=torch.int64))


def _complete(changed: Tensor, kept: Tensor, back: int) -> Tensor:
    """Insert the kept frames between the first ``back`` changed frames and the rest."""
    return torch.cat([changed[:, :back], kept, changed[:, back:]], 1)
