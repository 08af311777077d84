# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Fixtures with requirements on every block."""

import copy
from collections.abc import Callable

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn


@pytest.fixture
def unmoved_parameters() -> Callable[[nn.Module], list[str]]:
    """Names of the parameters unchanged by two steps on (6, 6, 8, 8) features."""

    def train(block: nn.Module) -> list[str]:
        before = copy.deepcopy(block.state_dict())
        optimizer = torch.optim.SGD(block.parameters(), lr=0.1)
        for _ in range(2):
            x = torch.randn(6, 6, 8, 8).relu()
            optimizer.zero_grad()
            block(x).square().mean().backward()
            optimizer.step()
        return [
            name
            for name, parameter in block.named_parameters()
            if torch.equal(parameter, before[name])
        ]

    return train


@pytest.fixture
def grouped_parameters() -> Callable[[nn.Module], tuple[list[int], list[int]]]:
    """Ids of all grouped parameters in mmaction2's TSM optimizer, and of all."""

    def group(backbone: nn.Module) -> tuple[list[int], list[int]]:
        model = nn.Sequential(backbone, nn.Linear(64, 5))
        wrapper = build_optim_wrapper(
            model,
            dict(
                constructor='TSMOptimWrapperConstructor',
                paramwise_cfg=dict(fc_lr5=False),
                optimizer=dict(type='SGD', lr=0.1),
            ),
        )
        groups = wrapper.optimizer.param_groups
        grouped = [id(p) for group in groups for p in group['params']]
        return sorted(grouped), sorted(id(p) for p in model.parameters())

    return group
