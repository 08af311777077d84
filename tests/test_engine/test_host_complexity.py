# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmengine's count of multiply-adds, which ``get_flops.py`` reports."""

import torch
from mmengine.analysis import FlopAnalyzer

from selfy_mmaction.models import STSSTransformation


def test_similarity_counts_c_per_value():
    module = STSSTransformation(num_segments=2, offsets=(0, 1), window=(3, 5))
    count = FlopAnalyzer(module, torch.randn(4, 7, 6, 5)).total()
    assert count == 7 * (4 * 6 * 5 * 2 * 3 * 5)
