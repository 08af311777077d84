# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Time and memory of the SELFY block and of its steps, against the released code.

    python benchmarks/block.py --peer-released ../SELFY

docs/performance.md says how to read the result.
"""

import copy
from typing import Any

import torch
from measuring import Candidate, autocast, module_candidate
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from networks import CONFIGS, initialize
from peers import copy_weights
from running import Case, Settings, make_parser, run
from torch import Tensor, nn

import selfy_mmaction  # noqa: F401  registers everything

PAPER, RELEASED = 'ours', 'ours, released form'
STEPS = (
    'reduction',
    'transformation',
    'extraction',
    'integration',
    'restoration',
    'fusion',
)


def build_blocks(case: Case) -> dict[str, nn.Module]:
    """The block in both forms, in float32 on the CPU."""
    init_default_scope('mmaction')
    config = Config.fromfile(CONFIGS / '_base_/models/selfy_tsm_r50_official.py')
    forms = {PAPER: {}, RELEASED: config.model.backbone.selfy.block}
    blocks = {}
    for name, form in forms.items():
        cfg = dict(
            form,
            type='SELFYBlock',
            in_channels=case.channels,
            num_segments=case.frames,
            offsets=case.offsets,
            window=case.window,
            # Zeros would hide what the block computes from the comparison of results.
            zero_init_last_norm=False,
        )
        blocks[name] = MODELS.build(cfg)
        initialize(blocks[name])
    return blocks


def _prepare(
    block: nn.Module, case: Case, settings: Settings
) -> tuple[tuple[nn.Module, nn.Module], Tensor]:
    """Copies for inference and training, and an input."""
    modules = (
        copy.deepcopy(block).to(settings.device, settings.dtype),
        copy.deepcopy(block).to(settings.device, settings.training_dtype),
    )
    generator = torch.Generator().manual_seed(0)
    shape = (case.batch * case.frames, case.channels, *case.size)
    # After a ReLU, as behind a stage of a ResNet.
    x = torch.randn(shape, generator=generator).relu_()
    return modules, x.to(settings.device, settings.dtype)


def build(case: Case, settings: Settings) -> list[Candidate]:
    """Our block in both forms, and the released code's with the same weights."""
    candidates = {}
    blocks = build_blocks(case)
    for name, block in blocks.items():
        modules, x = _prepare(block, case, settings)
        candidates[name] = module_candidate(name, modules, ([x], [x]), settings.dtype)
    released = settings.peers.released('SELFYBlock', case.offsets, case.window)
    for name, make in released.items():
        with settings.peers.skipping(name):
            modules = []
            for dtype in (settings.dtype, settings.training_dtype):
                module = make(dtype, case.channels, 128, case.frames)
                copy_weights(blocks[RELEASED], module)
                modules.append(module.to(settings.device, dtype))
            candidates[name] = module_candidate(
                name, tuple(modules), ([x], [x]), settings.dtype, candidates[RELEASED]
            )
    return list(candidates.values())


def build_steps(case: Case, settings: Settings) -> dict[str, list[Candidate]]:
    """The block and each step alone, fed with what it gets in the block."""
    tables = {}
    for name, block in build_blocks(case).items():
        modules, x = _prepare(block, case, settings)
        whole = module_candidate('whole block', modules, ([x], [x]), settings.dtype)
        with torch.no_grad():
            for_inference = _inputs_of_steps(modules[0], x)
            with autocast(settings.device, settings.dtype):
                for_training = _inputs_of_steps(modules[1], x)
        tables[f'Steps of the block, {name}'] = [whole] + [
            module_candidate(
                step,
                tuple(getattr(module, step) for module in modules),
                (for_inference[step], for_training[step]),
                settings.dtype,
            )
            for step in STEPS
        ]
    return tables


def _inputs_of_steps(block: nn.Module, x: Tensor) -> dict[str, tuple[Any, ...]]:
    inputs = {}

    def keep(step: str):
        return lambda module, args: inputs.__setitem__(step, args)

    handles = [
        getattr(block, step).register_forward_pre_hook(keep(step)) for step in STEPS
    ]
    block(x)
    for handle in handles:
        handle.remove()
    return inputs


def main() -> None:
    """Run the command line."""
    parser = make_parser(__doc__, baseline=RELEASED, size=28, channels=512)
    run('block', parser, build, build_steps)


if __name__ == '__main__':
    main()
