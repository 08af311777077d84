# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Other forms of the block: integrations of Table 4b, and the official steps.

test_golden.py compares the official form with the official code.
"""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from small_blocks import build_small_block, randomize_norms
from torch import nn

OFFICIAL = dict(
    integration=dict(type='ReleasedIntegration', channels=(4, 4, 4, 4)),
    restoration=dict(type='TransposedConvRestoration'),
    fusion=dict(type='ResidualFusion', relu='after'),
    zero_init_last_norm=True,
)
MLP = dict(integration=dict(type='MLPIntegration', channels=(4, 4, 4, 4)))
FC = dict(integration=dict(type='FCIntegration'))


def build_step(**cfg) -> nn.Module:
    return randomize_norms(MODELS.build(cfg)).eval()


def normalize(norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    """Normalize the last dimension with the running statistics."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (x - norm.running_mean) * scale + norm.bias


def linear(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Apply a 1x1 layer as a fully-connected one to (..., channels)."""
    return normalize(layer.norm, F.linear(x, layer.conv.weight.flatten(1)))


@pytest.mark.parametrize('type', ['FCIntegration', 'MLPIntegration'])
def test_integration_of_table_4b_is_fully_connected(type):
    args = dict(in_channels=3, out_channels=6, num_offsets=2)
    if type == 'MLPIntegration':
        args['channels'] = (4, 5)
    integration = build_step(type=type, **args)
    feats = torch.randn(2, 3, 5, 4, 2, 3)
    x = feats
    for layer in integration.layers:
        x = linear(layer, x).relu()
    # L comes before the channels.
    expected = linear(integration.project, x.flatten(4))  # (N, T, h, w, C)
    expected = expected.flatten(0, 1).permute(0, 3, 1, 2)
    torch.testing.assert_close(integration(feats), expected)
    assert integration.out_channels == 6
    assert integration.last_norm is integration.project.norm


def test_mlp_has_four_layers_of_64():
    integration = MODELS.build(
        dict(type='MLPIntegration', in_channels=64, out_channels=128, num_offsets=5)
    )
    shapes = [tuple(layer.conv.weight.shape) for layer in integration.layers]
    assert shapes == [(64, 64, 1, 1)] * 4


def test_official_integration():
    args = dict(in_channels=64, out_channels=512, num_offsets=5)
    integration = MODELS.build(dict(type='ReleasedIntegration', **args))
    layers = [*integration.layers, integration.project]
    assert [tuple(layer.conv.weight.shape) for layer in layers] == [
        (64, 64, 3, 3),
        (64, 64, 3, 3),
        (64, 64, 3, 3),
        (64, 320, 3, 3),
    ]
    assert integration.out_channels == 64
    assert integration.last_norm is None
    out = integration(torch.randn(1, 2, 3, 4, 5, 64))
    assert out.shape == (2, 64, 3, 4)
    assert (out >= 0).all()


@pytest.mark.parametrize('size', [(6, 8), (5, 8), (6, 7), (5, 7), (1, 1)])
def test_transposed_convolution_writes_one_of_four_positions(size):
    restoration = build_step(
        type='TransposedConvRestoration', in_channels=3, out_channels=5
    )
    height, width = size
    x = torch.randn(2, 3, -(-height // 2), -(-width // 2))
    sums = torch.einsum('nihw,io->nhwo', x, restoration.conv.weight[..., 0, 0])
    expected = torch.zeros(2, height, width, 5)
    expected[:, ::2, ::2] = sums
    expected = normalize(restoration.norm, expected).permute(0, 3, 1, 2)
    torch.testing.assert_close(restoration(x, size), expected)
    assert restoration.last_norm is restoration.norm


@pytest.mark.parametrize('form', [FC, MLP, OFFICIAL], ids=['fc', 'mlp', 'official'])
@pytest.mark.parametrize('size', [(8, 8), (7, 9), (3, 2), (1, 1)])
def test_any_size(form, size):
    x = torch.randn(6, 6, *size)
    assert build_small_block(**form).eval()(x).shape == x.shape


@pytest.mark.parametrize('form', [FC, MLP, OFFICIAL], ids=['fc', 'mlp', 'official'])
def test_every_parameter_moves_within_two_steps(form, unmoved_parameters):
    assert unmoved_parameters(build_small_block(**form)) == []


def test_official_form_starts_as_the_identity():
    block, x = build_small_block(**OFFICIAL), torch.randn(6, 6, 8, 8).relu()
    assert (block.restoration.norm.weight == 0).all()
    assert (block.integration.project.norm.weight == 1).all()
    assert torch.equal(block(x), x)
    assert torch.equal(block.eval()(x), x)


def test_last_norm_of_the_paper_form_is_in_the_integration():
    block = build_small_block(
        zero_init_last_norm=True, fusion=dict(type='ResidualFusion', relu='after')
    )
    assert block.last_norm is block.integration.project.norm
    assert (block.last_norm.weight == 0).all()


def test_paper_integration_before_a_transposed_convolution():
    block = build_small_block(
        integration=dict(channels=(4, 4)),
        restoration=dict(type='TransposedConvRestoration'),
    )
    assert block.last_norm is block.restoration.norm
    assert block(torch.randn(6, 6, 7, 8)).shape == (6, 6, 7, 8)


def test_compiles_as_one_graph():
    block, x = build_small_block(**OFFICIAL), torch.randn(6, 6, 7, 8)
    nn.init.ones_(block.restoration.norm.weight)
    expected = copy.deepcopy(block)(x)
    compiled = torch.compile(block, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(x), expected)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(integration=dict(type='ReleasedIntegration')),
         'keeps the in_channels=64 .* out_channels=6'),
        (dict(OFFICIAL, scale=1), 'requires scale=0.5 .* got 1;'),
        (dict(OFFICIAL, in_channels=4, restoration=None),
         r'\(ReleasedIntegration\).*\(UpsampleRestoration\).* has a last_norm'),
        (dict(OFFICIAL, fusion=None), 'permanently without a gradient'),
    ],
)  # fmt: skip
def test_bad_combination(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build_small_block(**kwargs)
