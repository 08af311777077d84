# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Each step is compared with its equation, written with other operations."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from small_blocks import randomize_norms
from torch import nn

from selfy_mmaction.ops import self_similarity_loops


def as_conv3d(layer) -> nn.Sequential:
    """Convert a 2D convolution layer to the 1xkxk 3D form of Eq. 5 and 7."""
    conv = layer.conv
    conv3d = nn.Conv3d(
        conv.in_channels,
        conv.out_channels,
        (1, *conv.kernel_size),
        stride=(1, *conv.stride),
        padding=(0, *conv.padding),
        bias=False,
    )
    conv3d.weight = nn.Parameter(conv.weight.unsqueeze(2))
    norm = nn.BatchNorm3d(conv.out_channels)
    norm.load_state_dict(layer.norm.state_dict())
    layers = [conv3d, norm]
    if layer.with_activation:
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


@pytest.mark.parametrize('size', [(8, 8), (7, 5), (1, 3)])
@pytest.mark.parametrize(('scale', 'stride'), [(0.25, 4), (0.5, 2), (1, 1), (2, 1)])
def test_reduction_is_a_strided_convolution(scale, stride, size):
    reduction = randomize_norms(
        MODELS.build(
            dict(type='ConvReduction', in_channels=3, out_channels=4, scale=scale)
        )
    ).eval()
    x = torch.randn(2, 3, *size)
    out = reduction(x)
    assert out.shape == (2, 4, *(math.ceil(side * scale) for side in size))
    if scale == 2:  # repeat each position four times
        x = x[:, :, [i // 2 for i in range(2 * size[0])]]
        x = x[..., [i // 2 for i in range(2 * size[1])]]
    conv, norm = reduction.conv.conv, reduction.conv.norm
    x = F.conv2d(x, conv.weight, stride=stride, padding=1)
    torch.testing.assert_close(out, norm(x).relu())


def test_transformation():
    transformation = MODELS.build(
        dict(type='STSSTransformation', num_segments=3, offsets=(0, 2), window=(3, 1))
    )
    x = torch.randn(6, 4, 3, 2, dtype=torch.float64)
    expected = self_similarity_loops(x, (0, 2), (3, 1), 3)
    torch.testing.assert_close(transformation(x), expected)


@pytest.mark.parametrize('train', [False, True])
@pytest.mark.parametrize('window', [(9, 9), (5, 5)])
def test_extraction_is_a_convolution_over_l_u_v(window, train):
    extraction = randomize_norms(
        MODELS.build(
            dict(
                type='ConvExtraction',
                window=window,
                channels=(2, 3, 4, 5),
            )
        )
    ).train(train)
    stss = torch.randn(2, 2, 3, 2, 3, *window)
    # (N*T*h*w, 1, L, U, V) -> (N*T*h*w, C_F, L, 1, 1)
    x = stss.flatten(0, 3).unsqueeze(1)
    for layer in extraction.layers:
        x = as_conv3d(layer).train(train)(x)
    expected = x.flatten(2).transpose(1, 2).reshape(2, 2, 3, 2, 3, 5)
    torch.testing.assert_close(extraction(stss), expected)


@pytest.mark.parametrize('train', [False, True])
def test_integration_is_a_convolution_over_t_x_y(train):
    integration = randomize_norms(
        MODELS.build(
            dict(
                type='ConvIntegration',
                in_channels=3,
                out_channels=6,
                num_offsets=2,
                channels=(4, 5),
            )
        )
    ).train(train)
    feats = torch.randn(2, 3, 5, 4, 2, 3)
    # (N*L, C_F, T, h, w): layers are shared by the offsets.
    x = feats.permute(0, 4, 5, 1, 2, 3).flatten(0, 1)
    for layer in integration.layers:
        x = as_conv3d(layer).train(train)(x)
    # (N, L*C_F, T, h, w): l comes before the channels.
    x = x.reshape(2, 2 * 5, 3, 5, 4)
    x = as_conv3d(integration.project).train(train)(x)
    expected = x.transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(integration(feats), expected)


def restoration_weights(mode: str, out: int, size: int) -> torch.Tensor:
    """Return the interpolation weights along one side, (out, size)."""
    weights = torch.zeros(out, size)
    for i in range(out):
        if mode == 'nearest':
            weights[i, i * size // out] = 1
        elif mode == 'bilinear':
            # Positions have their centers at half-integers.
            place = max(0, (i + 0.5) * size / out - 0.5)
            before = math.floor(place)
            weights[i, before] += 1 - (place - before)
            weights[i, min(before + 1, size - 1)] += place - before
        else:
            seen = range(i * size // out, -(-(i + 1) * size // out))
            weights[i, seen] = 1 / len(seen)
    return weights


@pytest.mark.parametrize('mode', ['nearest', 'bilinear', 'area'])
@pytest.mark.parametrize('size', [(8, 6), (8, 7), (9, 5), (2, 1), (3, 2)])
def test_restoration(mode, size):
    restoration = MODELS.build(dict(type='UpsampleRestoration', mode=mode))
    x = torch.randn(2, 3, 4, 3)
    rows, cols = (
        restoration_weights(mode, out, side)
        for out, side in zip(size, (4, 3), strict=True)
    )
    expected = torch.einsum('yh,nchw,xw->ncyx', rows, x, cols)
    torch.testing.assert_close(restoration(x, size), expected)
    assert restoration(x, (4, 3)) is x


@pytest.mark.parametrize(
    ('relu', 'expected'),
    [('before', [-1.0, 3, 2]), ('after', [0.0, 3, 0]), ('none', [-3.0, 3, -1])],
)
def test_fusion(relu, expected):
    fusion = MODELS.build(dict(type='ResidualFusion', relu=relu))
    out = fusion(torch.tensor([-1.0, 1, 2]), torch.tensor([-2.0, 2, -3]))
    assert torch.equal(out, torch.tensor(expected))


def test_replacement_fusion():
    fusion = MODELS.build(dict(type='ReplacementFusion'))
    out = fusion(torch.tensor([-1.0, 1, 2]), torch.tensor([-2.0, 2, -3]))
    assert torch.equal(out, torch.tensor([0.0, 2, 0]))


def test_replacement_fusion_rejects_zero_init():
    with pytest.raises(ValueError, match='zero_init_last_norm=True'):
        MODELS.build(
            dict(
                type='SELFYBlock',
                in_channels=4,
                fusion=dict(type='ReplacementFusion'),
                zero_init_last_norm=True,
            )
        )


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='ConvReduction', in_channels=3, scale=0.3), r'scale .* 0\.3'),
        (dict(type='STSSTransformation', offsets=()), 'offsets is empty'),
        (dict(type='STSSTransformation', window=(8, 9)), r'odd .*\(8, 9\)'),
        (dict(type='UpsampleRestoration', mode='cubic'), "'cubic'"),
        (dict(type='ResidualFusion', relu='both'), "'both'"),
    ],
)
def test_bad_config(cfg, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(cfg)


def test_offsets_beyond_the_clip_trigger_a_warning():
    with pytest.warns(UserWarning, match=r'offsets \[-8, 9\] .* num_segments=8'):
        MODELS.build(dict(type='STSSTransformation', offsets=(-8, 0, 9)))
