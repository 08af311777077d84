# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Combinations of blocks at one position (Section 4.6, Figure 4c to 4f)."""

from collections.abc import Sequence
from typing import Any

from mmaction.registry import MODELS
from mmengine.model import ModuleList
from torch import Tensor

from selfy_mmaction.models.layers.building import Module, build, check_config
from selfy_mmaction.models.selfy.reduction import SCALES
from selfy_mmaction.ops import check_choice, check_int


class _Blocks(Module):
    """Base of the combinations: builds their member blocks."""

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
                'blocks is empty; give at least one block config, for example '
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
    """Blocks in sequence: Table 6, c, d and f.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Side of the grid relative to that of the input. Default: 0.5.
        blocks: Configs of the blocks, at least one. ``in_channels`` is passed to each
            block. ``num_segments``, ``scale`` and, unless None, ``fusion`` and
            ``zero_init_last_norm`` are its defaults, if it has such arguments.
        fusion: Config of the fusion of the blocks. Default: None, that of each block.
        zero_init_last_norm: Whether the blocks start from the plain features.
            Default: None, the default of each block.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If there is no block or an argument is invalid.

    Example:
        >>> import torch
        >>> from mmaction.registry import MODELS
        >>> import selfy_mmaction  # registers the modules
        >>> blocks = [dict(type='STCB'), dict(type='SELFYSBlock', window=(5, 5))]
        >>> block = MODELS.build(
        ...     dict(type='SequentialBlocks', in_channels=64, blocks=blocks)
        ... )
        >>> block(torch.randn(8, 64, 14, 14)).shape
        torch.Size([8, 64, 14, 14])
    """

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Run the blocks in order.

        Args:
            x: Visual features V, (N*T, C, H, W).
            num_segments: Frames per clip, T. Default: None, the ``num_segments`` of
                each block.

        Returns:
            (N*T, C, H, W).
        """
        for block in self.blocks:
            x = block(x, num_segments)
        return x


@MODELS.register_module()
class ParallelBlocks(_Blocks):
    r"""Blocks in parallel: Table 6, e.

    .. math:: V + \sum_i (\mathrm{block}_i(V) - V)

    All blocks see the same features; the output is V plus the residual of each block.
    If a block ends in a ReLU (``relu='after'``), its residual includes the effect of
    the ReLU, and the output may be negative.

    Starts as the identity if all blocks do.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Side of the grid relative to that of the input. Default: 0.5.
        blocks: See :class:`SequentialBlocks`.
        fusion: See :class:`SequentialBlocks`. Default: None.
        zero_init_last_norm: See :class:`SequentialBlocks`. Default: None.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If there is no block or an argument is invalid.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import ParallelBlocks
        >>> names = ['MultiHeadSelfAttentionBlock', 'NonLocalBlock']
        >>> block = ParallelBlocks(64, blocks=[dict(type=name) for name in names])
        >>> features = torch.randn(8, 64, 7, 7)
        >>> torch.equal(block(features), features)  # the identity, as each of them
        True
    """

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Add the residuals of all blocks to the features.

        Args:
            x: Visual features V, (N*T, C, H, W).
            num_segments: Frames per clip, T. Default: None, the ``num_segments`` of
                each block.

        Returns:
            (N*T, C, H, W).
        """
        return x + sum(block(x, num_segments) - x for block in self.blocks)
