# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""SELFYNet: TSN and TSM ResNets with SELFY blocks (Section 4.1, supplement A)."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any
from urllib.error import URLError

from mmaction.models.backbones.resnet import ResNet, make_res_layer
from mmaction.models.backbones.resnet_tsm import ResNetTSM
from mmaction.registry import MODELS
from mmcv.cnn import ConvModule

from selfy_mmaction.models.insertion.host import (
    HostOfBlocks,
    without_inserted_blocks,
)
from selfy_mmaction.models.insertion.insert_blocks import insert_block
from selfy_mmaction.models.layers.building import build
from selfy_mmaction.ops import check_bool

from .causal_shift import make_causal
from .pretrained import init_from_recognizer, name_as_shifted

# Layers that blocks can follow, in the order of the data.
STAGES = {
    'pool1': 'maxpool',
    'res2': 'layer1',
    'res3': 'layer2',
    'res4': 'layer3',
    'res5': 'layer4',
}


class _WithBlocks(HostOfBlocks):
    """Adds blocks and a configurable width to the backbones of mmaction2."""

    def _insert_blocks(self, selfy: dict[str, Any] | None) -> None:
        if selfy is None:
            return
        keys = {'after', 'block', 'new'}
        if not isinstance(selfy, Mapping) or not {'after'} <= set(selfy) <= keys:
            raise ValueError(
                'selfy must be dict(after=..., block=dict(type=...)), optionally with '
                f'new=True, but got {selfy!r}'
            )
        new = check_bool('selfy.new', selfy.get('new', False))
        allowed = ['pool1', *(f'res{i + 2}' for i in range(self.num_stages))]
        stages = selfy['after']
        stages = [stages] if isinstance(stages, str) else stages
        if not isinstance(stages, Sequence) or not stages:
            raise ValueError(
                f'selfy.after must be one or several of {allowed}, but got '
                f'{stages!r}; for the plain backbone, set selfy=None'
            )
        for stage in stages:
            if stage not in allowed:
                raise ValueError(
                    f'selfy.after={stage!r} is not a stage of this backbone; choose '
                    f'from {allowed}'
                )
        for stage in stages:
            block = build(
                'selfy.block',
                selfy.get('block'),
                'SELFYBlock',
                decided=dict(in_channels=self._stage_channels(stage)),
                num_segments=self._stage_segments(stage),
                scale=self._stage_scale(stage),
            )
            insert_block(self, STAGES[stage], block, new=new)

    def _stage_channels(self, stage: str) -> int:
        if stage == 'pool1':
            return self.base_channels
        depth = int(stage[len('res') :]) - 2
        return self.base_channels * 2**depth * self.block.expansion

    def _stage_scale(self, stage: str) -> float:
        """Return the scale of the grid, which has half the side of res3.

        Supplement, Table 1 and Section C: with 224x224 input, blocks always match on
        14x14 positions.
        """
        stages = [*STAGES].index(stage)
        after, before = self.strides[2:stages], self.strides[stages:2]
        return 0.5 * prod(after) / prod(before)

    def _stage_segments(self, stage: str) -> int:
        halved = getattr(self, 'temporal_pool', False) and stage not in (
            'pool1',
            'res2',
        )
        return self.num_segments // 2 if halved else self.num_segments

    def _set_width(self, base_channels: int) -> None:
        """Rebuild stem and stages, because mmaction2 hard-codes the width of 64."""
        self.base_channels = base_channels
        if base_channels == 64:
            return
        cfgs = dict(
            conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg
        )
        self.conv1 = ConvModule(
            self.in_channels, base_channels, 7, stride=2, padding=3, bias=False, **cfgs
        )
        inplanes = base_channels
        for i, layer in enumerate(self.res_layers):
            planes = base_channels * 2**i
            stage = make_res_layer(
                self.block,
                inplanes,
                planes,
                self.stage_blocks[i],
                stride=self.strides[i],
                dilation=self.dilations[i],
                style=self.style,
                with_cp=self.with_cp,
                **cfgs,
            )
            setattr(self, layer, stage)
            inplanes = planes * self.block.expansion
        self.inplanes = self.feat_dim = inplanes

    def init_weights(self) -> None:
        """Initialize the backbone as mmaction2 does, then the blocks.

        ``pretrained`` may also be the checkpoint of a recognizer, such as
        ``selfy_mmaction://selfy-tsn-r18-slim-motion``. TSM may start from TSN.

        Raises:
            ConnectionError: If ``pretrained`` cannot be downloaded.
            ValueError: If ``pretrained`` is the checkpoint of a recognizer and does not
                fit.
        """
        try:
            with without_inserted_blocks(self):
                init_cfg = init_from_recognizer(self)
            if init_cfg is not None:
                self.init_cfg = init_cfg
                # Otherwise mmaction2 looks for torchvision's names.
                self.pretrained, self.pretrained2d = None, False
            super().init_weights()
        except URLError as error:
            raise ConnectionError(
                f'pretrained={self.pretrained!r} could not be downloaded '
                f'({error.reason}). Download the file on another machine and set '
                'model.backbone.pretrained to its path, or train from scratch with '
                'model.backbone.pretrained=None.'
            ) from error

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any
    ) -> None:
        if self.is_initializing and not prefix:
            name_as_shifted(self, state_dict)
        super()._load_from_state_dict(state_dict, prefix, *args)


@MODELS.register_module()
class ResNetSELFY(_WithBlocks, ResNet):
    """TSN-ResNet with blocks: mmaction2's frame-wise ``ResNet`` plus SELFY.

    Args:
        depth: 18, 34, 50, 101 or 152.
        num_segments: Frames per clip, T. Default: 8.
        selfy: Position and config of the blocks, such as
            ``dict(after='res3', block=dict(type='SELFYBlock'))``.

            - after: One or several of 'pool1', 'res2', 'res3', 'res4', 'res5'.
            - block: Config of the block. ``in_channels`` is that of the stage;
              ``num_segments`` and ``scale`` default to those of the stage.
              Default: ``dict(type='SELFYBlock')``.
            - new: Whether training may start from a checkpoint without the blocks'
              weights; see :class:`~selfy_mmaction.engine.CheckpointCheckHook`.
              Default: False.

            Default: None, the plain backbone.
        base_channels: Width of the stem. Default: 64, as in all pretrained weights.
        kwargs: Arguments of mmaction2's ``ResNet``.

    Raises:
        ValueError: If ``selfy`` has unknown keys or stages.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import ResNetSELFY
        >>> selfy = dict(after='res3', block=dict(type='SELFYBlock', window=(5, 5)))
        >>> backbone = ResNetSELFY(depth=18, num_segments=4, selfy=selfy)
        >>> backbone(torch.randn(2 * 4, 3, 64, 64)).shape
        torch.Size([8, 512, 2, 2])
    """

    def __init__(
        self,
        depth: int,
        num_segments: int = 8,
        selfy: dict[str, Any] | None = None,
        base_channels: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(depth, **kwargs)
        self.num_segments = num_segments
        self._set_width(base_channels)
        self._insert_blocks(selfy)


@MODELS.register_module()
class ResNetTSMSELFY(_WithBlocks, ResNetTSM):
    """TSM-ResNet with blocks: mmaction2's ``ResNetTSM`` plus SELFY.

    Args:
        depth: 18, 34, 50, 101 or 152.
        num_segments: Frames per clip, T. Default: 8.
        selfy: See :class:`ResNetSELFY`. Default: None.
        base_channels: Width of the stem. Default: 64, as in all pretrained weights.
        causal_shift: Whether the temporal shifts take features only from the past, so
            that the network can run on a stream; see
            :class:`~selfy_mmaction.models.backbones.causal_shift.CausalShift`. Weights
            are named as without. Default: False.
        kwargs: Arguments of mmaction2's ``ResNetTSM``. ``pretrained2d`` defaults to
            whether ``pretrained`` is set, because mmaction2's own default fails without
            pretrained weights.

    Raises:
        ValueError: If ``selfy`` has unknown keys or stages, or ``causal_shift`` is set
            without shifts or with other layers that see the future.

    Example:
        >>> import torch
        >>> from mmaction.registry import MODELS
        >>> import selfy_mmaction  # registers the modules
        >>> config = dict(type='ResNetTSMSELFY', depth=18, base_channels=16)
        >>> config['selfy'] = dict(after=['res2', 'res3'])
        >>> backbone = MODELS.build(config)
        >>> backbone.init_weights()
        >>> backbone(torch.randn(8, 3, 64, 64)).shape
        torch.Size([8, 128, 2, 2])
    """

    def __init__(
        self,
        depth: int,
        num_segments: int = 8,
        selfy: dict[str, Any] | None = None,
        base_channels: int = 64,
        causal_shift: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault('pretrained2d', kwargs.get('pretrained') is not None)
        self._requested_width = base_channels
        self.causal_shift = check_bool('causal_shift', causal_shift)
        super().__init__(depth, num_segments=num_segments, **kwargs)
        self._insert_blocks(selfy)

    def init_structure(self) -> None:
        """Set the width before mmaction2 adds temporal shifts to the stages."""
        self._set_width(self._requested_width)
        super().init_structure()
        if self.causal_shift:
            make_causal(self)
