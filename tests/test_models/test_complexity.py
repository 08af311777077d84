# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Multiply-adds per clip at 224x224 are compared with the paper's figures."""

import pytest
import torch
from mmaction.registry import MODELS
from torch.utils.flop_counter import FlopCounterMode

# Tables 1 and 4a and supplement Table 3g, in G; None is the plain backbone.
REPORTED = [
    (18, 8, None, 14.6),
    (18, 8, (0,), 15.3),
    (18, 8, (1,), 15.3),
    (18, 8, (-1, 0, 1), 16.3),
    (18, 8, (-2, -1, 0, 1, 2), 17.3),
    (18, 8, (-3, -2, -1, 0, 1, 2, 3), 18.3),
    (50, 8, None, 33.1),
    (50, 8, (-2, -1, 0, 1, 2), 36.6),
    (50, 16, (-4, -3, -2, -1, 0, 1, 2, 3, 4), 77),
]


@pytest.mark.parametrize('type', ['ResNetSELFY', 'ResNetTSMSELFY'])
@pytest.mark.parametrize(('depth', 'num_segments', 'offsets', 'reported'), REPORTED)
def test_multiply_adds(type, depth, num_segments, offsets, reported):
    selfy = offsets and dict(after='res3', block=dict(offsets=offsets))
    with torch.device('meta'):
        backbone = MODELS.build(
            dict(type=type, depth=depth, num_segments=num_segments, selfy=selfy)
        )
        with FlopCounterMode(display=False) as counter:
            backbone(torch.empty(num_segments, 3, 224, 224))
    assert counter.get_total_flops() / 2e9 == pytest.approx(reported, rel=0.015)


# Supplement Table 3a, in G.
WINDOWS = [(5, 17.1), (9, 17.3), (13, 18.4), (17, 19.8)]


@pytest.mark.parametrize(('side', 'reported'), WINDOWS)
def test_multiply_adds_by_window(side, reported):
    selfy = dict(after='res3', block=dict(window=(side, side)))
    with torch.device('meta'):
        backbone = MODELS.build(dict(type='ResNetTSMSELFY', depth=18, selfy=selfy))
        with FlopCounterMode(display=False) as counter:
            backbone(torch.empty(8, 3, 224, 224))
    assert counter.get_total_flops() / 2e9 == pytest.approx(reported, rel=0.015)
