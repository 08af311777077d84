# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The faster forms of a layer against mmcv's and torch's own."""

import copy
import itertools

import pytest
import torch
from mmcv.cnn import ConvModule
from small_blocks import randomize_norms
from torch import nn

from selfy_mmaction.models.layers.convolution import FoldingConvModule, SmallMapConv2d


def count_calls(monkeypatch):
    calls = []

    def convolve(*args):
        calls.append(args)
        return original(*args)

    from selfy_mmaction.models.layers import convolution

    original = convolution.conv2d_small_maps
    monkeypatch.setattr(convolution, 'conv2d_small_maps', convolve)
    return calls


@pytest.mark.parametrize(
    ('channels', 'size', 'options', 'dense'),
    [
        ((1, 4), (9, 9), dict(padding=1), True),
        ((1, 4), (20, 20), dict(padding=1), True),
        ((1, 4), (20, 21), dict(padding=1), False),
        ((4, 5), (9, 9), dict(padding=1, stride=2), False),
        ((4, 5), (3, 3), dict(bias=False), False),
        ((4, 5), (3, 3), dict(), False),
    ],
)
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_small_maps_give_what_conv2d_gives(
    channels, size, options, dense, layout, monkeypatch
):
    calls = count_calls(monkeypatch)
    torch.manual_seed(0)
    conv = SmallMapConv2d(*channels, 3, **options).double().to(memory_format=layout)
    plain = nn.Conv2d(*channels, 3, **options).double()
    plain.load_state_dict(conv.state_dict())
    x = torch.randn(3, channels[0], *size).double().to(memory_format=layout)
    out = conv(x)
    torch.testing.assert_close(out, plain(x))
    assert bool(calls) is dense
    out.square().sum().backward()
    plain(x).square().sum().backward()
    torch.testing.assert_close(conv.weight.grad, plain.weight.grad)


def test_autocast_convolves_in_half_precision(monkeypatch):
    calls = count_calls(monkeypatch)
    conv = SmallMapConv2d(1, 4, 3, padding=1)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert conv(torch.randn(2, 1, 5, 5)).dtype == torch.bfloat16
    assert not calls


@pytest.mark.parametrize(
    'options',
    [
        dict(norm_cfg=dict(type='BN')),
        dict(norm_cfg=dict(type='BN', affine=False), bias=True),
        dict(norm_cfg=dict(type='BN'), act_cfg=None),
        dict(norm_cfg=dict(type='BN', track_running_stats=False)),
        dict(norm_cfg=dict(type='GN', num_groups=2)),
        dict(norm_cfg=None),
        dict(norm_cfg=dict(type='BN3d'), conv_cfg=dict(type='Conv3d')),
    ],
)
@pytest.mark.parametrize('training', [True, False])
def test_folding_changes_no_result(options, training):
    torch.manual_seed(0)
    folding = randomize_norms(FoldingConvModule(3, 4, 3, **options).double())
    plain = ConvModule(3, 4, 3, **options).double()
    plain.load_state_dict(folding.state_dict())
    folding.train(training)
    plain.train(training)
    dims = 3 if 'conv_cfg' in options else 2
    x = torch.randn(2, 3, *[5] * dims).double()
    out, expected_out = folding(x), plain(x)
    torch.testing.assert_close(out, expected_out)
    torch.testing.assert_close(folding.state_dict(), plain.state_dict())
    out.square().sum().backward()
    expected_out.square().sum().backward()
    for actual, expected in zip(folding.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(actual.grad, expected.grad)


def test_evaluation_runs_no_norm():
    module = FoldingConvModule(3, 4, 3, norm_cfg=dict(type='BN')).eval()
    module.norm.register_forward_hook(lambda *args: pytest.fail('norm was called'))
    module(torch.randn(1, 3, 5, 5))


@pytest.mark.parametrize('shape', [(16_000, 2, 9, 9), (500_000, 2, 1, 1)])
def test_statistics_of_many_positions_are_exact(shape):
    torch.manual_seed(0)
    options = dict(norm_cfg=dict(type='BN'), act_cfg=None)
    module = FoldingConvModule(2, 4, 1, **options)
    module.to(memory_format=torch.channels_last)
    expected = ConvModule(2, 4, 1, **options).double()
    expected.load_state_dict(module.state_dict())
    x = torch.randn(shape).to(memory_format=torch.channels_last)
    torch.testing.assert_close(
        module(x).double(), expected(x.double()), rtol=1e-5, atol=1e-5
    )


def layouts_of(shape):
    """Features in every order of their dimensions in memory."""
    for order in itertools.permutations(range(len(shape))):
        x = torch.randn([shape[axis] for axis in order])
        yield x.permute([order.index(axis) for axis in range(len(shape))])


@pytest.mark.parametrize(
    'shape', [(7, 3, 1, 1), (7, 3, 2, 1), (7, 3, 1, 5), (1, 3, 4, 4), (5, 1, 3, 3)]
)
def test_gradients_in_every_layout(shape):
    # torch's own norm on a CPU gets some of them wrong where a size is 1.
    torch.manual_seed(0)
    module = FoldingConvModule(
        shape[1], shape[1], 1, norm_cfg=dict(type='BN'), act_cfg=None
    )
    expected = copy.deepcopy(module).double()
    repeated = torch.randn(shape[:2])[..., None, None].expand(shape)
    for x in layouts_of(shape):
        for grad in (*layouts_of(shape), repeated):
            x = x.detach().requires_grad_()
            wide = x.detach().double().contiguous().requires_grad_()
            module(x).backward(grad)
            expected(wide).backward(grad.double().contiguous())
            torch.testing.assert_close(x.grad.double(), wide.grad, rtol=1e-4, atol=1e-4)
    actual, wanted = module.norm.weight.grad, expected.norm.weight.grad
    torch.testing.assert_close(actual.double(), wanted, rtol=1e-4, atol=1e-4)
