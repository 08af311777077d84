# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import copy
import re

import pytest
import torch
from mmaction.registry import MODELS
from torch import nn

SMALL = dict(
    type='SELFYBlock',
    in_channels=6,
    num_segments=3,
    offsets=(-1, 0, 1),
    window=(5, 5),
    reduced_channels=4,
    extraction=dict(channels=(2, 3, 4, 5), strides=(1, 2, 1, 1)),
    integration=dict(channels=(4, 4, 4, 4)),
)
RELEASED = dict(
    fusion=dict(type='ResidualFusion', relu='after'), zero_init_last_norm=True
)


def build(**kwargs) -> nn.Module:
    torch.manual_seed(0)
    block = MODELS.build({**SMALL, **kwargs})
    block.init_weights()
    return block


@pytest.mark.parametrize('size', [(8, 8), (7, 9), (3, 2), (1, 1)])
@pytest.mark.parametrize('scale', [0.25, 0.5, 1, 2])
def test_any_size(size, scale):
    x = torch.randn(6, 6, *size)
    assert build(scale=scale).eval()(x).shape == x.shape


def test_shapes_between_the_steps():
    block, shapes = build(), {}
    for name, step in block.named_children():
        step.register_forward_hook(
            lambda step, args, out, name=name: shapes.update({name: tuple(out.shape)})
        )
    block(torch.randn(6, 6, 8, 6))
    assert shapes == {
        'reduction': (6, 4, 4, 3),
        'transformation': (2, 3, 4, 3, 3, 5, 5),
        'extraction': (2, 3, 4, 3, 3, 5),
        'integration': (6, 6, 4, 3),
        'restoration': (6, 6, 8, 6),
        'fusion': (6, 6, 8, 6),
    }


def test_defaults_are_the_papers():
    block = MODELS.build(dict(type='SELFYBlock', in_channels=16))
    assert block.transformation.offsets == (-2, -1, 0, 1, 2)
    assert block.transformation.window == (9, 9)
    assert [layer.out_channels for layer in block.extraction.layers] == [4, 16, 64, 64]
    assert [layer.out_channels for layer in block.integration.layers] == [64] * 4
    assert block.fusion.relu == 'before'


def test_gradcheck():
    # ReLU has kinks, so every one of them is far from zero or replaced.
    block = build(norm_cfg=dict(type='BN')).double().eval()
    for name, module in block.named_modules():
        if isinstance(module, nn.ReLU):
            parent = block.get_submodule(name.rpartition('.')[0])
            parent.activate = nn.Softplus()
    x = torch.randn(3, 6, 3, 4, dtype=torch.float64, requires_grad=True)
    block.fusion.relu = 'none'
    assert torch.autograd.gradcheck(block, x)


@pytest.mark.parametrize('relu', ['after', 'none'])
def test_starts_as_the_identity(relu):
    block = build(**{**RELEASED, 'fusion': dict(type='ResidualFusion', relu=relu)})
    x = torch.randn(6, 6, 8, 8)
    if relu == 'after':
        assert not torch.equal(block(x), x)  # V < 0 does not pass the ReLU
        x = x.relu()
    assert torch.equal(block(x), x)
    assert torch.equal(block.eval()(x), x)


def test_eq9_adds_what_is_not_negative():
    x = torch.randn(6, 6, 8, 8)
    added = build()(x) - x
    assert (added >= 0).all()
    assert added.max() > 0


@pytest.mark.parametrize('form', [{}, RELEASED], ids=['paper', 'released'])
def test_every_parameter_moves_within_two_steps(form, unmoved_parameters):
    assert unmoved_parameters(build(**form)) == []


def test_zero_scale_under_eq9_is_refused():
    message = re.escape("zero_init_last_norm=True with fusion=dict(relu='before')")
    with pytest.raises(ValueError, match=message):
        build(zero_init_last_norm=True)


def test_wrong_num_segments():
    with pytest.raises(ValueError, match='7 frames .* num_segments=3'):
        build()(torch.randn(7, 6, 4, 4))


def test_clips_do_not_mix():
    block = build().eval()
    x = torch.randn(6, 6, 8, 8)
    torch.testing.assert_close(block(x)[3:], block(x[3:]))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    block, x = build(), torch.randn(6, 6, 8, 8)
    expected = block(x)
    with torch.autocast('cpu', dtype=dtype):
        out = block(x)
    out.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in block.parameters())
    torch.testing.assert_close(out.float(), expected, rtol=0.1, atol=0.1)


def test_non_contiguous_input():
    block, x = build().eval(), torch.randn(6, 6, 8, 8)
    expected = block(x)
    torch.testing.assert_close(
        block(x.contiguous(memory_format=torch.channels_last)), expected
    )
    torch.testing.assert_close(block(torch.stack([x, x], -1)[..., 1]), expected)


def test_compiles_in_one_piece():
    block, x = build(), torch.randn(6, 6, 8, 8)
    expected = copy.deepcopy(block)(x)
    compiled = torch.compile(block, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(x), expected)


def test_a_step_is_replaced_by_config():
    block = build(restoration=dict(type='UpsampleRestoration', mode='bilinear'))
    assert block.restoration.mode == 'bilinear'
