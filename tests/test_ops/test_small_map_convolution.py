# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The convolution as a dense matrix against torch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from selfy_mmaction.ops import conv2d_small_maps

# (maps, channels, size, out channels, kernel, stride, padding)
CASES = {
    'first layer of the extraction': (3, 1, (9, 9), 4, (3, 3), (1, 1), (1, 1)),
    'several channels': (2, 3, (5, 4), 2, (3, 3), (1, 1), (1, 1)),
    'sides that differ': (2, 2, (7, 5), 3, (3, 1), (2, 1), (0, 1)),
    'one map': (1, 1, (5, 5), 2, (5, 5), (1, 1), (0, 0)),
}


def make_inputs(case, dtype=torch.float64):
    maps, channels, size, out_channels, kernel, stride, padding = case
    torch.manual_seed(0)
    x = torch.randn(maps, channels, *size, dtype=dtype, requires_grad=True)
    weight = torch.randn(out_channels, channels, *kernel, dtype=dtype)
    bias = torch.randn(out_channels, dtype=dtype, requires_grad=True)
    return x, weight.requires_grad_(), bias, stride, padding


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('layout', ['contiguous', 'channels last', 'strided'])
def test_values_and_gradients(name, layout):
    x, weight, bias, stride, padding = make_inputs(CASES[name])
    with torch.no_grad():
        if layout == 'channels last':
            x = x.contiguous(memory_format=torch.channels_last)
            weight = weight.contiguous(memory_format=torch.channels_last)
        elif layout == 'strided':
            x = torch.stack([x, x + 1], -1)[..., 0]
    inputs = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    actual = conv2d_small_maps(*inputs, stride, padding)
    expected = F.conv2d(*inputs, stride, padding)
    torch.testing.assert_close(actual, expected)
    cotangent = torch.randn_like(expected)
    for actual_grad, expected_grad in zip(
        torch.autograd.grad(actual, inputs, cotangent),
        torch.autograd.grad(expected, inputs, cotangent),
        strict=True,
    ):
        torch.testing.assert_close(actual_grad, expected_grad)


def test_result_can_be_changed_in_place():
    x, weight, bias, stride, padding = make_inputs(CASES['several channels'])
    out = conv2d_small_maps(x, weight, bias, stride, padding).relu_()
    (actual,) = torch.autograd.grad(out.sum(), x)
    expected = F.conv2d(x, weight, bias, stride, padding).relu().sum()
    torch.testing.assert_close(actual, torch.autograd.grad(expected, x)[0])


@pytest.mark.parametrize('name', CASES)
def test_operator_is_registered_right(name):
    x, weight, bias, stride, padding = make_inputs(CASES[name])
    args = (list(stride), list(padding))
    ops = torch.ops.selfy_mmaction
    torch.library.opcheck(ops.conv2d_small_maps, (x, weight, bias, *args))
    # Without a bias, and maps that are data.
    torch.library.opcheck(ops.conv2d_small_maps, (x.detach(), weight, None, *args))
    grad = torch.randn_like(F.conv2d(x, weight, None, stride, padding)).detach()
    x, weight = x.detach(), weight.detach()
    for needs_grad_maps in (True, False):
        torch.library.opcheck(
            ops.conv2d_small_maps_backward, (grad, x, weight, *args, needs_grad_maps)
        )


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('needs_grad_maps', [True, False])
def test_flop_counter_counts_the_convolution(name, needs_grad_maps):
    x, weight, bias, stride, padding = make_inputs(CASES[name])
    x.requires_grad_(needs_grad_maps)
    counts = []
    for convolve in (conv2d_small_maps, F.conv2d):
        with FlopCounterMode(display=False) as counter:
            out = convolve(x, weight, bias, stride, padding)
        forward = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            out.sum().backward()
        counts.append((forward, counter.get_total_flops()))
    assert counts[0] == counts[1]
