# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Whole networks from the configs, with and without the block."""

import argparse
import logging
from pathlib import Path
from typing import Any

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.registry import init_default_scope
from peers import copy_weights
from running import Case, Settings, make_parser
from torch import Tensor, nn

import selfy_mmaction  # noqa: F401  registers everything

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
BACKBONE, OURS, RELEASED = 'TSM', 'SELFYNet-TSM', 'SELFYNet-TSM, released form'
_FILES = {
    BACKBONE: 'selfy/tsm-r50_8xb8-1x1x8-50e_sthv1-rgb.py',
    OURS: 'selfy/selfy-tsm-r50_8xb8-1x1x8-50e_sthv1-rgb.py',
    RELEASED: 'selfy/official/selfy-tsm-r50_1x1x8_sthv1-rgb.py',
}


def make_network_parser(doc: str) -> argparse.ArgumentParser:
    """The options of benchmarks of networks."""
    parser = make_parser(doc, baseline=BACKBONE, size=224)
    parser.add_argument('--depth', type=int, choices=[18, 34, 50, 101], default=50)
    return parser


def build_networks(
    case: Case, settings: Settings, dtype: torch.dtype, with_cp: bool = False
) -> dict[str, nn.Module]:
    """The backbone, ours in both forms, and ours with the released code's block.

    Those with the released form share their weights.

    Args:
        case: What is measured.
        settings: Its peers, and the option ``--depth``.
        dtype: Of the weights.
        with_cp: Of our blocks. Default: False.

    Returns:
        Networks by name, on the device, of which those after the first three are
        peers.
    """
    networks = {name: _build(name, case, settings, with_cp=with_cp) for name in _FILES}
    for network in networks.values():
        initialize(network)
    ours = networks[RELEASED]
    released = settings.peers.released('SELFYBlock', case.offsets, case.window)
    for name, make in released.items():

        def build_block(in_channels: int, num_segments: int, make=make, **_):
            return make(dtype, in_channels, 128, num_segments)

        with settings.peers.skipping(f'TSM with {name}'):
            theirs = _build(RELEASED, case, settings, type=build_block)
            theirs.load_state_dict(ours.state_dict(), strict=False)
            copy_weights(
                *(net.backbone.inserted_blocks['layer2'] for net in (ours, theirs))
            )
            networks[f'TSM with {name}'] = theirs
    return {
        name: network.to(settings.device, dtype) for name, network in networks.items()
    }


def initialize(module: BaseModule) -> None:
    """Draw the weights, always the same, without mmengine's line for each."""
    torch.manual_seed(0)
    logging.disable(logging.INFO)
    try:
        module.init_weights()
    finally:
        logging.disable(logging.NOTSET)


def _build(name: str, case: Case, settings: Settings, **block: Any) -> nn.Module:
    init_default_scope('mmaction')
    model = Config.fromfile(CONFIGS / _FILES[name]).model
    depth = settings.args.depth
    model.backbone.update(
        depth=depth, num_segments=case.frames, pretrained=None, pretrained2d=False
    )
    model.cls_head.update(
        num_segments=case.frames, in_channels=512 if depth < 50 else 2048
    )
    if 'selfy' in model.backbone:
        model.backbone.selfy.block.update(
            offsets=case.offsets,
            window=case.window,
            # Zeros would hide the block from the comparison of results.
            zero_init_last_norm=False,
        )
        model.backbone.selfy.block.update(block)
    return MODELS.build(model)


def make_clips(case: Case, settings: Settings) -> Tensor:
    """Normalized frames, (N, T, 3, H, W)."""
    generator = torch.Generator().manual_seed(0)
    shape = (case.batch, case.frames, 3, *case.size)
    return torch.randn(shape, generator=generator).to(settings.device)


def scores(network: nn.Module, clips: Tensor) -> Tensor:
    """Scores of a recognizer, (N, classes)."""
    return network.extract_feat(clips, stage='head')[0]
