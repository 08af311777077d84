# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Moments match their definition, and the extraction works in a SELFY block."""

from itertools import product

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope

from my_motion import MomentExtraction

TEMPERATURE = 0.3


def make_stss(*shape: int) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(shape, dtype=torch.float64) * 2 - 1


def moments_by_loops(similarities: torch.Tensor) -> list[float]:
    """Compute the moments of one (U, V) map by definition: centered expectations."""
    rows, cols = similarities.shape
    cells = list(product(range(rows), range(cols)))
    p = {cell: (similarities[cell] / TEMPERATURE).exp().item() for cell in cells}
    total = sum(p.values())

    def mean(function) -> float:
        return sum(
            p[i, j] / total * function(i - rows // 2, j - cols // 2) for i, j in cells
        )

    mean_u, mean_v = mean(lambda u, v: u), mean(lambda u, v: v)
    return [
        mean_u,
        mean_v,
        mean(lambda u, v: (u - mean_u) ** 2),
        mean(lambda u, v: (v - mean_v) ** 2),
        mean(lambda u, v: (u - mean_u) * (v - mean_v)),
        max(similarities[cell].item() for cell in cells),
    ]


def test_moments_match_definition():
    stss = make_stss(2, 3, 1, 2, 2, 5, 3)
    extraction = MomentExtraction((5, 3), temperature=TEMPERATURE).double()
    expected = [moments_by_loops(values) for values in stss.reshape(-1, 5, 3)]
    actual = extraction.moments(stss)
    assert actual.shape == (2, 3, 1, 2, 2, 6)
    torch.testing.assert_close(actual.reshape(-1, 6), actual.new_tensor(expected))


@pytest.mark.parametrize(
    ('cells', 'expected'),
    [
        ([(0, 2)], [-2, 1, 0, 0, 0, 0.9]),  # a corner that moved
        ([(i, 2) for i in range(5)], [0, 1, 2, 0, 0, 0.9]),  # a vertical edge
        ([(1, 0), (2, 1), (3, 2)], [0, 0, 2 / 3, 2 / 3, 2 / 3, 0.9]),  # a diagonal edge
    ],
    ids=['corner', 'edge', 'diagonal edge'],
)
def test_cases_that_soft_argmax_cannot_distinguish(cells, expected):
    stss = torch.zeros(5, 3)
    for cell in cells:
        stss[cell] = 0.9
    moments = MomentExtraction((5, 3), temperature=0.01).moments(stss)
    torch.testing.assert_close(moments, torch.tensor(expected))


def test_gradient():
    extraction = MomentExtraction((3, 3), 4, TEMPERATURE).double().eval()
    stss = make_stss(1, 2, 1, 1, 2, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(extraction, stss)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [(dict(window=(4, 3)), 'odd'), (dict(temperature=0), 'temperature must be pos')],
)
def test_invalid_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MomentExtraction(**kwargs)


def test_in_a_selfy_block():
    init_default_scope('mmaction')
    extraction = dict(type='MomentExtraction', out_channels=7)
    block = MODELS.build(
        dict(
            type='SELFYBlock',
            in_channels=4,
            num_segments=3,
            offsets=(0, 1),
            window=(5, 3),
            reduced_channels=2,
            extraction=extraction,
        )
    )
    assert block.extraction.window == (5, 3)
    x = torch.randn(2 * 3, 4, 6, 8)
    assert block(x).shape == x.shape
    block(x).sum().backward()
    without = [name for name, p in block.named_parameters() if p.grad is None]
    assert without == []
