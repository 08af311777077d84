# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Time and memory of SELFYNet-TSM and of TSM, in inference and training.

    python benchmarks/network.py --official ../SELFY --sampler

A training step is the forward pass, the loss, the backward pass and a step of SGD with
momentum. docs/performance.md explains the output.
"""

import logging
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from baselines import copy_weights, official
from measuring import Candidate
from mmaction.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModule
from mmengine.registry import init_default_scope
from running import make_parser, run
from torch import Tensor, nn

import selfy_mmaction  # noqa: F401  registers everything

BACKBONE, OURS, OFFICIAL_FORM = 'TSM', 'SELFYNet-TSM', 'SELFYNet-TSM, official form'
WITH_CP = f'{OURS}, with_cp'
CONFIGS = {
    BACKBONE: 'tsm-r50_8xb8-1x1x8-50e_sthv1-rgb.py',
    OURS: 'selfy-tsm-r50_8xb8-1x1x8-50e_sthv1-rgb.py',
    OFFICIAL_FORM: 'official/selfy-tsm-r50_1x1x8_sthv1-rgb.py',
}


def load_model(name: str) -> ConfigDict:
    """Load the model config of an entry of ``CONFIGS``."""
    init_default_scope('mmaction')
    folder = Path(__file__).resolve().parents[1] / 'configs' / 'selfy'
    return Config.fromfile(folder / CONFIGS[name]).model


def initialize(module: BaseModule) -> BaseModule:
    """Initialize the weights with a fixed seed and without mmengine's log lines."""
    torch.manual_seed(0)
    logging.disable(logging.INFO)
    try:
        module.init_weights()
    finally:
        logging.disable(logging.NOTSET)
    return module


def build_network(name: str, args: Namespace, **block: Any) -> nn.Module:
    """Build a recognizer in float32 on the CPU, with changes to the block's config."""
    model = load_model(name)
    model.backbone.update(depth=args.depth, num_segments=args.t)
    model.backbone.update(pretrained=None, pretrained2d=False)
    width = 512 if args.depth < 50 else 2048
    # Dropout would make the losses differ.
    model.cls_head.update(num_segments=args.t, in_channels=width, dropout_ratio=0)
    if 'selfy' in model.backbone:
        changes = dict(offsets=args.offsets, window=args.window)
        # Zero-initialized, the block would be an identity and results always equal.
        model.backbone.selfy.block.update(changes, zero_init_last_norm=False, **block)
    return initialize(MODELS.build(model))


def build_networks(args: Namespace, dtype: torch.dtype) -> dict[str, nn.Module]:
    """Networks on the device, by name of the candidate."""
    networks = {name: build_network(name, args) for name in CONFIGS}
    networks[WITH_CP] = build_network(OURS, args, with_cp=True)
    ours = networks[OFFICIAL_FORM]
    channels = 128 if args.depth < 50 else 512
    for name, block in official(args, 'SELFYBlock', dtype, channels, 128).items():
        theirs = build_network(OFFICIAL_FORM, args, type=lambda block=block, **_: block)
        theirs.load_state_dict(ours.state_dict(), strict=False)
        copy_weights(ours.backbone.inserted_blocks['layer2'], block)
        networks[f'TSM, {name}'] = theirs
    return {name: each.to(args.device, dtype) for name, each in networks.items()}


def build(args: Namespace) -> list[Candidate]:
    """Build TSM, ours in both forms and with ``with_cp``, and the official block."""
    torch.manual_seed(0)
    clips = torch.randn(args.batch, args.t, 3, args.size, args.size)
    infer_clips = clips.to(args.device, args.dtype)
    train_clips = clips.to(args.device, args.training_dtype)
    trained = build_networks(args, args.training_dtype)
    candidates = []
    for name, network in build_networks(args, args.dtype).items():
        passes, held = {}, {}
        if name != WITH_CP:  # with_cp has no effect on inference
            forward = partial(scores, network.eval(), infer_clips)
            passes['forward'] = torch.no_grad()(forward)
            held['forward'] = [infer_clips, *network.state_dict().values()]
        network = trained[name]
        passes['training step'] = training_step(network, train_clips, args)
        momentum = list(network.parameters())
        held['training step'] = [train_clips, *network.state_dict().values(), *momentum]
        like = OURS if name == WITH_CP else None if name in CONFIGS else OFFICIAL_FORM
        candidates.append(Candidate(name, passes, like, held))
    return candidates


def training_step(
    network: nn.Module, clips: Tensor, args: Namespace
) -> Callable[[], Tensor]:
    """Return a function that runs one training step and returns the loss."""
    network.train()
    optimizer = torch.optim.SGD(
        network.parameters(), lr=1e-4, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    labels = torch.zeros(len(clips), dtype=torch.long, device=clips.device)

    def step() -> Tensor:
        with args.autocast():
            loss = F.cross_entropy(scores(network, clips).to(clips.dtype), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


def scores(network: nn.Module, clips: Tensor) -> Tensor:
    """Compute the scores of a recognizer, (N, classes)."""
    return network.extract_feat(clips, stage='head')[0]


if __name__ == '__main__':
    parser = make_parser(__doc__, size=224)
    text = 'depth of the ResNet (default: %(default)s)'
    depths = [18, 34, 50, 101]
    parser.add_argument('--depth', type=int, choices=depths, default=50, help=text)
    run(parser, build, size=96, depth=18)
