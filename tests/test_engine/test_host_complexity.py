# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmengine's count of multiply-adds, by which ``get_flops.py`` reports a model."""

import torch
from mmengine.analysis import FlopAnalyzer

from selfy_mmaction.models import STSSTransformation
from selfy_mmaction.models.layers.convolution import SmallMapConv2d


def test_similarity_counts_c_per_value():
    module = STSSTransformation(num_segments=2, offsets=(0, 1), window=(3, 5))
    count = FlopAnalyzer(module, torch.randn(4, 7, 6, 5)).total()
    assert count == 7 * (4 * 6 * 5 * 2 * 3 * 5)


def test_small_maps_count_as_the_convolution_that_they_are():
    dense = FlopAnalyzer(SmallMapConv2d(1, 4, 3, padding=1), torch.randn(2, 1, 9, 9))
    assert dense.total() == 9 * (2 * 4 * 9 * 9)
    covered = FlopAnalyzer(SmallMapConv2d(5, 4, 3), torch.randn(2, 5, 3, 3))
    assert covered.total() == 5 * 9 * (2 * 4)
