# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from selfy_mmaction.models import ConvExtraction
from selfy_mmaction.models.layers.small_map_conv import SmallMapConv2d

OPTIONS = [
    {},
    dict(bias=False),
    dict(padding=1),
    dict(padding=(0, 2), stride=(2, 1)),
    dict(padding='same'),
    dict(padding=1, padding_mode='reflect'),
    dict(padding=1, dilation=2),
]


@pytest.mark.parametrize('train', [False, True])
@pytest.mark.parametrize('channels', [1, 2])
@pytest.mark.parametrize('sizes', [(3, 3), (5, 4), (21, 20)])
@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_results_and_gradients_of_a_convolution(options, sizes, channels, train):
    if options.get('dilation') and sizes == (3, 3):
        sizes = (6, 5)
    conv = SmallMapConv2d(channels, 4, 3, **options).double().train(train)
    reference = nn.Conv2d(channels, 4, 3, **options).double()
    reference.load_state_dict(conv.state_dict())
    x = torch.randn(7, channels, *sizes, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    expected, actual = reference(x), conv(x)
    torch.testing.assert_close(actual, expected)
    grad = torch.randn_like(expected)
    for found, wanted in zip(
        torch.autograd.grad(actual, [x, *conv.parameters()], grad),
        torch.autograd.grad(expected, [x, *reference.parameters()], grad),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize('train', [False, True])
def test_autocast(train):
    conv = SmallMapConv2d(1, 4, 3, padding=1).train(train)
    x = torch.randn(5, 1, 9, 9)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = conv(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), conv(x), rtol=0.05, atol=0.05)


def count(extraction: nn.Module) -> dict:
    with FlopCounterMode(display=False) as counter:
        extraction(torch.randn(1, 1, 2, 2, 3, 9, 9))
    return counter.get_flop_counts()['Global']


def test_layers_of_the_extraction_are_matrix_products():
    """The last one always, the first one in training."""
    extraction = ConvExtraction(window=(9, 9))
    last = 2 * (2 * 2 * 3) * (64 * 9) * 64
    first = 2 * (2 * 2 * 3) * (9 * 9) * (4 * 9 * 9)
    assert count(extraction.eval())[torch.ops.aten.mm] == last
    assert count(extraction.train())[torch.ops.aten.mm] == last + first
