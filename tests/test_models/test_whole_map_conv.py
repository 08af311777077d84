# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from selfy_mmaction.models import ConvExtraction
from selfy_mmaction.models.layers.whole_map_conv import WholeMapConv2d


@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize(
    ('sizes', 'options'),
    [((3, 3), {}), ((3, 3), dict(padding=1)), ((5, 4), {}), ((3, 3), dict(stride=2))],
)
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_results_and_gradients_of_a_convolution(sizes, options, bias, layout):
    conv = WholeMapConv2d(2, 5, 3, bias=bias, **options).double()
    x = torch.randn(7, 2, *sizes, dtype=torch.float64)
    x = x.contiguous(memory_format=layout).requires_grad_()
    arguments = [x, *conv.parameters()]
    expected = F.conv2d(*arguments, **options)
    actual = conv(x)
    torch.testing.assert_close(actual, expected)
    grad = torch.randn_like(expected)
    for found, wanted in zip(
        torch.autograd.grad(actual, arguments, grad),
        torch.autograd.grad(expected, arguments, grad),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


def test_last_layer_of_the_extraction_is_a_matrix_product():
    extraction = ConvExtraction(window=(9, 9)).eval()
    with FlopCounterMode(display=False) as counter:
        extraction(torch.randn(1, 1, 2, 2, 3, 9, 9))
    (last,) = (
        flops
        for operator, flops in counter.get_flop_counts()['Global'].items()
        if operator is torch.ops.aten.mm
    )
    assert last == 2 * (2 * 2 * 3) * (64 * 9) * 64
