# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Time and memory of the SELFY block, its steps, and the official block.

    python benchmarks/block.py --official ../SELFY --sampler

docs/performance.md explains the output.
"""

from argparse import Namespace

import network
import torch
from baselines import copy_weights, official
from measuring import Candidate, passes_of
from mmaction.registry import MODELS
from running import make_parser, run
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

OURS, OFFICIAL_FORM = 'ours', 'ours, official form'


def build(args: Namespace) -> list[Candidate]:
    """Build our block in both forms, the official block, and the steps of our block."""
    torch.manual_seed(0)
    shape = args.batch * args.t, args.channels, args.size, args.size
    # After a ReLU, as after a stage of a ResNet.
    x = torch.randn(shape).relu_().to(args.device, args.dtype)
    form = network.load_model(network.OFFICIAL_FORM).backbone.selfy.block
    options = dict(
        type='SELFYBlock',
        in_channels=args.channels,
        num_segments=args.t,
        offsets=args.offsets,
        window=args.window,
        # Zero-initialized, the block would be an identity and results always equal.
        zero_init_last_norm=False,
    )
    pairs: dict[str, list[nn.Module]] = {}  # for inference and training
    for dtype in (args.dtype, args.training_dtype):
        blocks = {
            name: network.initialize(MODELS.build({**form, **options}))
            for name, form in ((OFFICIAL_FORM, form), (OURS, {}))
        }
        theirs = official(args, 'SELFYBlock', dtype, args.channels, 128)
        for block in theirs.values():
            copy_weights(blocks[OFFICIAL_FORM], block)
        for name, block in (blocks | theirs).items():
            pairs.setdefault(name, []).append(block.to(args.device, dtype))
    infer, train = pairs[OURS]
    for step, module in infer.named_children():
        pairs[f'step: {step}'] = [module, train.get_submodule(step)]
    inputs: dict[nn.Module, tuple] = {}  # by block and step
    with torch.no_grad(), register_module_forward_pre_hook(inputs.__setitem__):
        for name in (*blocks, *theirs):
            infer, train = pairs[name]
            infer.eval()(x)
            with args.autocast():
                train(x)
    return [
        Candidate(
            name,
            passes_of(pair, [inputs[module] for module in pair], args.autocast),
            like=OFFICIAL_FORM if name in theirs else None,
        )
        for name, pair in pairs.items()
    ]


if __name__ == '__main__':
    run(make_parser(__doc__, size=28, channels=512), build, size=10, channels=8)
