# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.registry import MODELS
from torch import nn

SUM = dict(type='ResidualFusion', relu='none')
MEMBERS = [
    dict(type='SELFYSBlock', reduced_channels=4, fusion=SUM),
    dict(type='STCB', reduced_channels=4, channels=(4,) * 4, fusion=SUM),
]


def build(type: str, **kwargs) -> nn.Module:
    torch.manual_seed(0)
    cfg = dict(type=type, in_channels=6, num_segments=4, blocks=MEMBERS)
    return MODELS.build({**cfg, **kwargs}).double().eval()


def test_sequential():
    block = build('SequentialBlocks')
    x = torch.randn(8, 6, 7, 6, dtype=torch.float64)
    selfy_s, stcb = block.blocks
    expected = stcb(selfy_s(x))
    assert torch.equal(block(x), expected)
    assert not torch.allclose(expected, selfy_s(stcb(x)))


def test_parallel_adds_the_residuals_of_the_members():
    block, added = build('ParallelBlocks'), []
    for member in block.blocks:
        member.restoration.register_forward_hook(
            lambda step, args, out: added.append(out)
        )
    x = torch.randn(8, 6, 7, 6, dtype=torch.float64)
    out = block(x)
    assert len(added) == 2
    torch.testing.assert_close(out, x + added[0] + added[1])


@pytest.mark.parametrize('type', ['SequentialBlocks', 'ParallelBlocks'])
def test_gradcheck(type):
    # Differentiable members: no ReLU.
    member = dict(type='NonLocalBlock', zero_init_last_norm=False)
    block = build(type, num_segments=3, blocks=[member, member])
    for member in block.blocks:
        nn.init.constant_(member.non_local.conv_out.norm.weight, 1)
    x = torch.randn(3, 6, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, x)


@pytest.mark.parametrize('type', ['SequentialBlocks', 'ParallelBlocks'])
def test_members_get_the_arguments_of_the_combination(type):
    block = build(type, scale=1, blocks=[*MEMBERS, dict(type='STCB', scale=0.25)])
    assert [member.reduction.scale for member in block.blocks] == [1, 1, 0.25]
    assert block.blocks[0].transformation.num_segments == 4
    assert block.blocks[1].num_segments == 4
    assert all(m.reduction.conv.in_channels == 6 for m in block.blocks)


@pytest.mark.parametrize('type', ['SequentialBlocks', 'ParallelBlocks'])
def test_members_initialize_themselves(type):
    block = build(
        type, blocks=[{**member, 'zero_init_last_norm': True} for member in MEMBERS]
    )
    block.init_weights()
    x = torch.randn(8, 6, 7, 6, dtype=torch.float64)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize('type', ['SequentialBlocks', 'ParallelBlocks'])
def test_no_block(type):
    with pytest.raises(ValueError, match='blocks is empty'):
        build(type, blocks=[])
