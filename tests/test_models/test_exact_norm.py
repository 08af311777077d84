# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Statistics and gradients in float32 are those in float64."""

import copy

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from selfy_mmaction.models import SELFYBlock
from selfy_mmaction.models.layers.exact_norm import ExactNormConvModule


def error(actual: Tensor, expected: Tensor) -> float:
    return ((actual.double() - expected).norm() / expected.norm()).item()


def run(module: nn.Module, x: Tensor, grad: Tensor) -> dict[str, Tensor]:
    """Output, gradients and statistics of a step."""
    module = copy.deepcopy(module).to(x.dtype)
    x = x.requires_grad_()
    out = module(x)
    out.backward(grad.to(x.dtype))
    grads = {name: each.grad for name, each in module.named_parameters()}
    buffers = {k: b for k, b in module.named_buffers() if 'running' in k}
    return {'out': out.detach(), 'x': x.grad, **grads, **buffers}


def test_thousands_of_maps():
    torch.manual_seed(0)
    module = ExactNormConvModule(16, 8, 1, norm_cfg=dict(type='BN'))
    x = torch.rand(40_000, 16, 1, 1) + 1
    grad = torch.randn(40_000, 8, 1, 1)
    exact, found = run(module, x.double(), grad), run(module, x.clone(), grad)
    for name in ('out', 'x', 'bn.running_mean', 'bn.running_var'):
        assert error(found[name], exact[name]) < 1e-6, name


@pytest.mark.parametrize('norm', [None, dict(type='BN'), dict(type='GN', num_groups=2)])
@pytest.mark.parametrize('size', [(1, 1), (3, 2), (1, 4), (11, 11)])
@pytest.mark.parametrize('train', [True, False])
def test_same_as_a_conv_module(norm, size, train):
    torch.manual_seed(0)
    module = ExactNormConvModule(3, 4, 1, norm_cfg=norm).double().train(train)
    plain = ConvModule(3, 4, 1, norm_cfg=norm).double().train(train)
    plain.load_state_dict(module.state_dict())
    x = torch.randn(50, 3, *size, dtype=torch.float64)
    grad = torch.randn(50, 4, *size, dtype=torch.float64)
    expected, actual = run(plain, x.clone(), grad), run(module, x.clone(), grad)
    for name in expected:
        torch.testing.assert_close(actual[name], expected[name])


def test_derivatives():
    torch.manual_seed(0)
    module = ExactNormConvModule(2, 2, 1, norm_cfg=dict(type='BN')).double().train()
    module.activate.inplace = False
    module.bn.momentum = 0.0
    x = torch.randn(5, 2, 1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, x)
    assert torch.autograd.gradgradcheck(module, x)


@pytest.mark.parametrize('extraction', ['ConvExtraction', 'MLPExtraction'])
def test_statistics_of_a_block(extraction):
    torch.manual_seed(0)
    block = SELFYBlock(
        16, window=5, reduced_channels=8, extraction=dict(type=extraction)
    )
    x = torch.randn(8 * 8, 16, 16, 16).relu()
    grad = torch.randn_like(x)
    exact, found = run(block, x.double(), grad), run(block, x.clone(), grad)
    for name in exact:
        if 'running' in name:
            assert error(found[name], exact[name]) < 1e-6, name
