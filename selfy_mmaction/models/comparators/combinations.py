# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Combinations of blocks at one place (Section 4.6, Figure 4c to 4f)."""

from collections.abc import Sequence
from typing import Any

from mmaction.registry import MODELS
from mmengine.model import ModuleList
from torch import Tensor

from selfy_mmaction.models.layers.building import Module, build, check_config
from selfy_mmaction.models.selfy.reduction import SCALES
from selfy_mmaction.ops import check_choice, check_int


class _Blocks(Module):
    """What the combinations share: their members and their arguments."""

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        scale: float = 0.5,
        blocks: Sequence[dict[str, Any]] = (),
        fusion: dict[str, Any] | None = None,
        zero_init_last_norm: bool | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if not isinstance(blocks, (list, tuple)):
            raise ValueError(
                'blocks must be a list of configs such as '
                f"[dict(type='SELFYSBlock'), dict(type='STCB')], but got {blocks!r}"
            )
        if not blocks:
            raise ValueError(
                'blocks is empty; give the config of one block at least, for example '
                "blocks=[dict(type='SELFYSBlock'), dict(type='STCB')]"
            )
        defaults = dict(
            num_segments=check_int('num_segments', num_segments),
            scale=check_choice('scale', scale, SCALES),
        )
        if fusion is not None:
            defaults['fusion'] = check_config('fusion', fusion)
        check_choice('zero_init_last_norm', zero_init_last_norm, (None, True, False))
        if zero_init_last_norm is not None:
            defaults['zero_init_last_norm'] = zero_init_last_norm
        decided = dict(in_channels=check_int('in_channels', in_channels))
        self.blocks = ModuleList(
            build(f'blocks[{index}]', block, decided=decided, **defaults)
            for index, block in enumerate(blocks)
        )


@MODELS.register_module()
class SequentialBlocks(_Blocks):
    """Blocks one after the other: Table 6, c, d and f.

    Starts as its members do.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Side of the working grid over the side of the input. Default: 0.5.
        blocks: Configs of the blocks. Each is built with the three arguments above
            and the two below that are given, where it has such arguments and does not
            say otherwise; the default, none, is refused.
        fusion: Config of the blocks' fusion. Default: None, each block's own.
        zero_init_last_norm: Whether the blocks start from the features alone.
            Default: None, each block's own.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: No block, or an unusable argument.
    """

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Run the blocks in order.

        Args:
            x: Visual features V, (N*T, C, H, W).
            num_segments: Frames per clip, T, of these features. Default: None, the
                ``num_segments`` that the blocks were built with.

        Returns:
            (N*T, C, H, W).
        """
        for block in self.blocks:
            x = block(x, num_segments)
        return x


@MODELS.register_module()
class ParallelBlocks(_Blocks):
    r"""Blocks side by side: Table 6, e.

    .. math:: V + \sum_i (\mathrm{block}_i(V) - V)

    All members see the same features; the result is V and the sum of what each adds.
    Where a member ends in a ReLU (``relu='after'``) that is counted among what it
    adds, and the sum may be negative.

    Starts as the identity where all members do.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Side of the working grid over the side of the input. Default: 0.5.
        blocks: Configs of the blocks, as for :class:`SequentialBlocks`.
        fusion: As for :class:`SequentialBlocks`. Default: None.
        zero_init_last_norm: As for :class:`SequentialBlocks`. Default: None.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: No block, or an unusable argument.
    """

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Add up what the blocks add.

        Args:
            x: Visual features V, (N*T, C, H, W).
            num_segments: Frames per clip, T, of these features. Default: None, the
                ``num_segments`` that the blocks were built with.

        Returns:
            (N*T, C, H, W).
        """
        return x + sum(block(x, num_segments) - x for block in self.blocks)
