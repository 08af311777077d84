# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""A SELFY block between backbone and head."""

from collections.abc import Sequence
from typing import Any

from mmaction.registry import MODELS
from torch import Tensor

from selfy_mmaction.ops import check_bool, check_int, check_ints

from .layers.activation_checkpoint import run_with_checkpoint
from .layers.building import Module, build, check_config, find_type
from .selfy.block import SELFYBlock


@MODELS.register_module()
class SELFYNeck(Module):
    """Adds the motion of one backbone level to the last level.

    A :class:`SELFYBlock` matches the features of one level and integrates them to the
    channels of the last level. They are resized by area averaging and added to it. The
    output is averaged over the frames of each clip, as mmaction2 expects of a neck.

    The paper does not use a neck; docs/mixing.md explains when a block inside the
    backbone is the better choice (supplement, Table 3b).

    The heads average over frames as well. So if the scale of the block's last norm is
    zero, the scores equal those without a neck, up to rounding, for ``TSNHead``,
    ``TPNHead``, ``I3DHead`` and ``TSMHead(num_segments=1)``. One exception: with
    several clips, ``TSNHead`` would average their features; after the neck,
    ``average_clips`` averages their scores, as for ``TSMHead``.

    Args:
        in_channels: Channels of each level returned by the backbone, at least two.
            There is one per entry of its ``out_indices``.
        num_segments: Frames per clip, T, at ``level``. 2D networks return all clips and
            crops of a video as one sequence, which is split into clips of this length.
            Use None for 3D networks, which return separate clips.
        level: Index of the level to match on. Default: 0, which is res3 of a ResNet
            with ``out_indices=(1, 3)``.
        block: Config of the :class:`SELFYBlock`. Its default ``scale`` of 0.5 is the
            paper's for 28x28 positions. Its default fusion, Eq. 9, is kept because
            there is no other nonlinearity between the sum over offsets and the average
            over frames; without one, the order of movements is lost (docs/mixing.md).
            Default: None, the defaults of the block except for
            ``restoration=dict(type='UpsampleRestoration', mode='area')``.
        new: Whether training may start from a checkpoint without the block's weights;
            see :class:`~selfy_mmaction.engine.CheckpointCheckHook`. Default: False.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If there are fewer than two levels, ``level`` is out of range,
            ``block`` is not a :class:`SELFYBlock`, or an argument is invalid.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import SELFYNeck
        >>> neck = SELFYNeck(in_channels=(64, 128), num_segments=4)
        >>> levels = torch.randn(2, 64, 4, 14, 14), torch.randn(2, 128, 4, 7, 7)
        >>> neck(levels)[0].shape  # averaged over T
        torch.Size([2, 128, 1, 7, 7])
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_segments: int | None,
        level: int = 0,
        block: dict[str, Any] | None = None,
        new: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if isinstance(in_channels, Sequence):
            in_channels = check_ints('in_channels', in_channels)
        if not isinstance(in_channels, tuple) or len(in_channels) < 2:
            raise ValueError(
                'in_channels must list the channels of at least two levels, such as '
                f'(512, 2048) for out_indices=(1, 3) of a ResNet-50, but got '
                f'{in_channels!r}'
            )
        self.in_channels = in_channels
        self.level = check_int('level', level, 0, len(in_channels) - 1)
        self.num_segments = num_segments
        self.new_blocks = frozenset(['block'] if check_bool('new', new) else [])
        block = check_config('block', block)
        kind = find_type('block', block.setdefault('type', 'SELFYBlock'))
        if not (isinstance(kind, type) and issubclass(kind, SELFYBlock)):
            raise ValueError(
                'block must be a SELFYBlock, whose steps the neck runs on two levels, '
                f'but got a {kind.__name__}'
            )
        # Only the reduction takes the channels of the level to match on.
        reduction = check_config('block.reduction', block.get('reduction'))
        block['reduction'] = {'in_channels': in_channels[level], **reduction}
        decided = dict(in_channels=in_channels[-1])
        if num_segments is not None:
            decided['num_segments'] = check_int('num_segments', num_segments)
        self.block = build(
            'block',
            block,
            decided=decided,
            restoration=dict(type='UpsampleRestoration', mode='area'),
        )

    def forward(
        self, x: Sequence[Tensor], data_samples: Sequence[Any] | None = None
    ) -> tuple[Tensor | tuple[Tensor, ...], dict[str, Tensor]]:
        """Add the STSS representation of a level to the last level.

        Args:
            x: Features of each level, (N, C, T, H, W). T of the last level may divide
                that of ``level``, as in networks with temporal strides. Frames
                (N*T, C, H, W) are returned unchanged: with ``max_testing_views``,
                mmaction2's ``Recognizer2D`` calls the neck on chunks of frames before
                the regular call.
            data_samples: Samples of a training step; their number is checked.
                Default: None.

        Returns:
            Features per clip, (N * clips, C, 1, H, W), with C, H and W of the last
            level, and an empty dict of auxiliary losses.

        Raises:
            ValueError: If the levels do not match ``in_channels``, the lengths T do not
                divide, or the number of clips in training is not that of the samples.
        """
        self._check_levels(x)
        if x[-1].dim() == 4:
            return tuple(x), {}
        level, last = x[self.level], x[-1]
        num_frames = level.size(2)
        num_segments = self.num_segments or num_frames
        if num_frames % num_segments or num_frames % last.size(2):
            raise ValueError(
                f'level {self.level} has T={num_frames} frames, which must be a '
                f'multiple of num_segments={num_segments} and of the T='
                f'{last.size(2)} frames of the last level'
            )
        last = last.repeat_interleave(num_frames // last.size(2), 2)
        out = self._fuse(_as_frames(level), _as_frames(last), num_segments)
        out = out.unflatten(0, (-1, num_segments)).mean(1)  # (N * clips, C, H, W)
        if data_samples is not None and len(out) != len(data_samples):
            raise ValueError(
                f'{len(data_samples)} samples have {len(out)} clips of num_segments='
                f'{num_segments} frames at level {self.level}, but training requires '
                'one per sample; set num_segments to the number of frames that the '
                'pipeline samples'
            )
        return out.unsqueeze(2), {}

    def _fuse(self, level: Tensor, last: Tensor, num_segments: int) -> Tensor:
        """Fuse the motion at ``level`` with ``last``."""
        block = self.block

        def represent(x: Tensor) -> Tensor:
            stss = block.transformation(block.reduction(x), num_segments)
            out = block.integration(block.extraction(stss))
            return block.restoration(out, last.shape[-2:])

        if block.with_cp:
            return block.fusion(last, run_with_checkpoint(block, represent, level))
        return block.fusion(last, represent(level))

    def _check_levels(self, x: Sequence[Tensor]) -> None:
        advice = (
            f'the backbone must return one level per entry of in_channels='
            f'{self.in_channels}; set its out_indices to the stages, such as (1, 3)'
        )
        if isinstance(x, Tensor):
            raise ValueError(f'{advice}; got one tensor, {tuple(x.shape)}')
        if len(x) != len(self.in_channels):
            # With a single-level backbone, Recognizer2D passes each frame as a level.
            raise ValueError(f'{advice}; got {len(x)} levels')
        channels = tuple(
            features.size(1) if isinstance(features, Tensor) else type(features)
            for features in x
        )
        if channels != self.in_channels:
            raise ValueError(f'{advice}; got channels {channels}')

    def extra_repr(self) -> str:
        """Return the options to print."""
        return f'num_segments={self.num_segments}, level={self.level}'


def _as_frames(clips: Tensor) -> Tensor:
    """Reshape (N, C, T, H, W) to (N*T, C, H, W)."""
    return clips.transpose(1, 2).flatten(0, 1)
