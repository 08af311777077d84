# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Requirements on every block that can replace SELFY."""

import copy

import pytest
import torch
from mmaction.registry import MODELS
from torch import nn

from selfy_mmaction.models import ExpansionRestoration
from selfy_mmaction.models.layers.building import build as build_block

SELFY_S = dict(
    type='SELFYSBlock',
    offsets=(-1, 0, 1),
    window=(5, 5),
    # With few channels, some positions are nearly zero and rounding dominates them.
    reduced_channels=16,
    extraction=dict(channels=(2, 3, 4, 5)),
)
STCB = dict(type='STCB', reduced_channels=4, channels=(4, 4, 4, 4))
SMALL_ENCODER = dict(
    reduced_channels=8,
    extraction=dict(channels=(4,)),
    integration=dict(channels=(4, 5, 6)),
)
MOTION = dict(SMALL_ENCODER, integration=dict(out_channels=6))
BLOCKS = dict(
    local=dict(
        type='LocalSelfAttentionBlock',
        window=(3, 5, 5),
        reduced_channels=8,
        num_heads=2,
    ),
    non_local=dict(type='NonLocalBlock'),
    multi_head=dict(type='MultiHeadSelfAttentionBlock', max_distance=3),
    stcb=STCB,
    selfy_s=SELFY_S,
    sequential=dict(type='SequentialBlocks', blocks=[SELFY_S, STCB]),
    parallel=dict(type='ParallelBlocks', blocks=[SELFY_S, STCB]),
    moss=dict(type='MOSSBlock', offsets=(-1, 0, 1), window=5, encoder=SMALL_ENCODER),
    motion=dict(
        type='MotionModule',
        window=(3, 5),
        similarity='softmax',
        hidden_channels=8,
        encoder=MOTION,
        init_cfg=dict(type='Normal', layer='Linear', std=0.5),
    ),
    atm_similarity=dict(
        type='ATMSimilarityBlock',
        window=5,
        reduced_channels=8,
        extraction=dict(channels=(2, 3, 4, 5)),
        integration=dict(channels=(4, 5, 6)),
    ),
    atm_difference=dict(
        type='ATMDifferenceBlock',
        reduced_channels=8,
        integration=dict(channels=(4, 5, 6)),
    ),
    motion_squeeze=dict(type='MotionSqueezeBlock', window=3, reduced_channels=8),
)
every_block = pytest.mark.parametrize('cfg', BLOCKS.values(), ids=BLOCKS)


def build(cfg: dict, **kwargs) -> nn.Module:
    """Build a block with those arguments that it accepts."""
    torch.manual_seed(0)
    arguments = {'num_segments': 3, **kwargs}
    block = build_block('block', {**cfg, 'in_channels': 16}, **arguments)
    block.init_weights()
    return block


def off_the_identity(block: nn.Module) -> nn.Module:
    """Undo zero initialization, which would mask errors."""
    for module in block.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.constant_(module.weight, 1)
        if isinstance(module, ExpansionRestoration):
            nn.init.normal_(module.conv.weight)
    return block


def in_backbone(cfg: dict, type: str = 'ResNetSELFY') -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type=type,
            depth=18,
            num_segments=3,
            base_channels=8,
            selfy=dict(after='res3', block=cfg),
        )
    )


@every_block
@pytest.mark.parametrize('size', [(8, 8), (7, 9), (3, 2), (1, 1)])
@pytest.mark.parametrize('scale', [0.25, 0.5, 1, 2])
def test_any_size(cfg, size, scale):
    x = torch.randn(6, 16, *size)
    assert build(cfg, scale=scale).eval()(x).shape == x.shape


@every_block
def test_wrong_num_segments(cfg):
    with pytest.raises(ValueError, match='7 frames .* num_segments=3'):
        build(cfg)(torch.randn(7, 16, 4, 4))


@every_block
def test_frames_mix_only_within_clips(cfg):
    block = off_the_identity(build(cfg)).eval()
    x = torch.randn(6, 16, 8, 8)
    expected = block(x)
    torch.testing.assert_close(expected[3:], block(x[3:]))
    other = x.clone()
    other[1] = torch.randn(16, 8, 8)
    assert not torch.allclose(block(other)[0], expected[0])
    torch.testing.assert_close(block(other)[3:], expected[3:])


@every_block
def test_clips_of_another_length(cfg):
    block = off_the_identity(build(cfg)).eval()
    x = torch.randn(8, 16, 8, 8)
    out = block(x, num_segments=4)
    for clip in (slice(4), slice(4, 8)):
        torch.testing.assert_close(out[clip], block(x[clip], num_segments=4))
    other = x.clone()
    other[3] = torch.randn(16, 8, 8)
    assert not torch.allclose(block(other, num_segments=4)[2], out[2])
    built_for_it = off_the_identity(build(cfg, num_segments=4)).eval()
    if cfg['type'] != 'MultiHeadSelfAttentionBlock':  # has one weight per distance
        torch.testing.assert_close(out, built_for_it(x))
    with pytest.raises(ValueError, match='8 frames .* num_segments=3'):
        block(x)


@every_block
def test_autocast(cfg):
    block, x = off_the_identity(build(cfg)), torch.randn(6, 16, 8, 8)
    expected = block(x)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = block(x)
    out.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in block.parameters())
    if cfg['type'] == 'MotionSqueezeBlock':
        return  # which neighbor is the most similar one jumps with rounding
    # Compare all features at once: bfloat16 has 8 bits, and single values may cancel.
    difference = (out.float() - expected).norm() / expected.norm()
    assert difference < 0.03, difference


@every_block
def test_non_contiguous_input(cfg):
    block, x = off_the_identity(build(cfg)).eval(), torch.randn(6, 16, 8, 6)
    expected = block(x)
    torch.testing.assert_close(
        block(x.contiguous(memory_format=torch.channels_last)), expected
    )
    torch.testing.assert_close(block(torch.stack([x, x], -1)[..., 1]), expected)


@every_block
def test_deepcopy(cfg):
    block, x = off_the_identity(build(cfg)).eval(), torch.randn(3, 16, 8, 8)
    expected, copied = block(x), copy.deepcopy(block)
    assert torch.equal(copied(x), expected)
    for parameter in copied.parameters():
        nn.init.constant_(parameter, 0.1)
    assert torch.equal(block(x), expected)


@every_block
@pytest.mark.parametrize('type', ['ResNetSELFY', 'ResNetTSMSELFY'])
def test_in_a_backbone(cfg, type):
    backbone = in_backbone(cfg, type)
    backbone.init_weights()
    loss = backbone(torch.randn(6, 3, 64, 48)).square().mean()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in backbone.parameters())


@every_block
def test_every_parameter_moves_within_two_steps(cfg):
    block = build(cfg)
    before = copy.deepcopy(block.state_dict())
    optimizer = torch.optim.SGD(block.parameters(), lr=0.1)
    for _ in range(2):
        x = torch.randn(6, 16, 8, 8).relu()
        optimizer.zero_grad()
        block(x).square().mean().backward()
        optimizer.step()
    still = {
        name
        for name, parameter in block.named_parameters()
        if torch.equal(parameter, before[name])
    }
    # Of mmcv: softmax and norm cancel these biases; only rounding moves them.
    assert still <= {'non_local.phi.conv.bias', 'non_local.g.conv.bias'}


@every_block
def test_every_parameter_is_in_exactly_one_optimizer_group(cfg, grouped_parameters):
    grouped, all_parameters = grouped_parameters(in_backbone(cfg))
    assert grouped == all_parameters
