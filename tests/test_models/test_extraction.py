# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Each extraction is compared with its equation, as loops or other operations."""

from itertools import product
from math import exp

import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from small_blocks import randomize_norms
from torch import Tensor, nn

# (N, T, h, w, L, U, V): several of each and not square; a single offset and frame.
SHAPES = [(2, 3, 2, 3, 2, 5, 3), (1, 1, 3, 1, 1, 3, 7)]


def build(type: str, **kwargs) -> nn.Module:
    """Build an extraction with random norms, so that they do not mask errors."""
    torch.manual_seed(0)
    return randomize_norms(MODELS.build(dict(type=type, **kwargs)))


def make_stss(shape, dtype=torch.float32) -> Tensor:
    torch.manual_seed(1)
    return torch.rand(shape, dtype=torch.float64).mul(2).sub(1).to(dtype)


def soft_argmax_loops(values: Tensor, temperature: float) -> list[float]:
    """Compute Eq. 2 for one (U, V) map, shifted by its maximum to keep exp finite."""
    rows, cols = values.shape
    highest = values.max().item()
    total, u_sum, v_sum = 0.0, 0.0, 0.0
    for i, j in product(range(rows), range(cols)):
        weight = exp((values[i, j].item() - highest) / temperature)
        total += weight
        u_sum += weight * (i - (rows - 1) / 2)
        v_sum += weight * (j - (cols - 1) / 2)
    return [u_sum / total, v_sum / total]


def kernel_soft_argmax_loops(
    values: Tensor, temperature: float, sigma: float
) -> list[float]:
    """Compute MotionSqueeze's flow and confidence for one (U, V) map."""
    rows, cols = values.shape
    values = values.clamp(min=0)
    confidence, best = -1.0, (0, 0)
    for i, j in product(range(rows), range(cols)):
        if values[i, j].item() > confidence:
            confidence, best = values[i, j].item(), (i, j)
    sharpened = torch.zeros_like(values)
    for i, j in product(range(rows), range(cols)):
        distance = (i - best[0]) ** 2 + (j - best[1]) ** 2
        sharpened[i, j] = values[i, j] * exp(-distance / (2 * sigma**2))
    u, v = soft_argmax_loops(sharpened, temperature)
    return [u / (rows // 2), v / (cols // 2), confidence]


EXPLICIT = {
    'SoftArgmaxExtraction': lambda values: soft_argmax_loops(values, 0.01),
    'KernelSoftArgmaxExtraction': lambda values: kernel_soft_argmax_loops(
        values, 0.01, 5
    ),
}


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('type', EXPLICIT)
@pytest.mark.parametrize(
    ('dtype', 'tolerance'),
    [
        (torch.float64, 1e-10),
        (torch.float32, 1e-4),
        (torch.float16, 2e-3),
        (torch.bfloat16, 1e-2),
    ],
)
@pytest.mark.parametrize('autocast', [False, True])
def test_displacement(type, shape, dtype, tolerance, autocast):
    extraction = build(type, window=shape[-2:])
    stss = make_stss(shape, dtype)
    rows = [EXPLICIT[type](values) for values in stss.double().reshape(-1, *shape[-2:])]
    expected = torch.tensor(rows, dtype=torch.float64)
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        actual = extraction(stss)
    assert actual.dtype == dtype
    assert actual.shape == (*shape[:-2], extraction.out_channels)
    torch.testing.assert_close(
        actual.double().flatten(0, -2), expected, rtol=tolerance, atol=tolerance
    )


def test_displacement_of_a_peak_by_hand():
    stss = torch.zeros(1, 1, 1, 1, 1, 5, 9)
    stss[..., 0, 7] = 0.9  # u = -2 rows, v = 3 columns
    soft = build('SoftArgmaxExtraction', window=(5, 9))(stss)
    torch.testing.assert_close(soft.flatten(), torch.tensor([-2.0, 3.0]))
    kernel = build('KernelSoftArgmaxExtraction', window=(5, 9))(stss)
    torch.testing.assert_close(kernel.flatten(), torch.tensor([-1.0, 0.75, 0.9]))


def test_kernel_suppresses_the_second_peak():
    stss = torch.zeros(1, 1, 1, 1, 1, 9, 9)
    stss[..., 0, 0], stss[..., 8, 8] = 0.9, 0.89
    soft = build('SoftArgmaxExtraction')(stss).flatten()
    kernel = build('KernelSoftArgmaxExtraction')(stss).flatten()
    # The second peak, 8 rows away, has exp(-1) of the weight of the first; with the
    # kernel, almost none.
    weight = 1 / (1 + exp(-1))
    expected = -4 * weight + 4 * (1 - weight)
    torch.testing.assert_close(soft, torch.full((2,), expected))
    torch.testing.assert_close(kernel[:2], torch.full((2,), -1.0))


def test_kernel_ignores_negative_similarities():
    # All weights are equal: no displacement and no confidence.
    stss = -make_stss((1, 2, 1, 1, 1, 5, 3)).abs()
    out = build('KernelSoftArgmaxExtraction', window=(5, 3))(stss)
    torch.testing.assert_close(out, torch.zeros(1, 2, 1, 1, 1, 3))


@pytest.mark.parametrize('window', [(1, 1), (1, 3)])
def test_window_without_displacement(window):
    stss = make_stss((1, 2, 1, 2, 1, *window)).abs()
    for type in EXPLICIT:
        out = build(type, window=window)(stss)
        assert torch.equal(out[..., 0], torch.zeros_like(out[..., 0]))
        assert out.isfinite().all()


@pytest.mark.parametrize('train', [False, True])
@pytest.mark.parametrize('shape', SHAPES)
def test_mlp(shape, train):
    extraction = build('MLPExtraction', window=shape[-2:], channels=(4, 3)).train(train)
    stss = make_stss(shape).transpose(1, 2)
    # Eq. 3 and 4: rows of U * V values times the weights.
    x = stss.flatten(-2).flatten(0, -2)
    for layer in extraction.layers:
        norm = layer.norm
        x = x @ layer.conv.weight.flatten(1).T
        mean, var = norm.running_mean, norm.running_var
        if train:
            mean, var = x.mean(0), x.var(0, unbiased=False)
        x = (x - mean) / (var + norm.eps).sqrt() * norm.weight + norm.bias
        x = x.clamp(min=0)
    actual = extraction(stss)
    torch.testing.assert_close(actual, x.reshape(*stss.shape[:-2], 3))


def test_mlp_has_four_layers_of_64():
    extraction = build('MLPExtraction', window=(9, 9))
    shapes = [tuple(layer.conv.weight.shape) for layer in extraction.layers]
    assert shapes == [(64, 81, 1, 1)] + 3 * [(64, 64, 1, 1)]
    assert extraction.out_channels == 64


def conv_by_sums(x: Tensor, layer, temporal_kernel: int) -> Tensor:
    """Compute a layer of Eq. 5 in eval mode, (B, C, L, U, V), by sums over windows."""
    conv, norm = layer.conv, layer.norm
    (rows, cols), (u_stride, v_stride) = conv.padding[-2:], conv.stride[-2:]
    depth = temporal_kernel // 2
    x = F.pad(x, (cols, cols, rows, rows, depth, depth))
    x = x.unfold(2, temporal_kernel, 1).unfold(3, 3, u_stride).unfold(4, 3, v_stride)
    weight = conv.weight.reshape(*conv.weight.shape[:2], temporal_kernel, 3, 3)
    x = torch.einsum('bcluvijk,ocijk->bluvo', x, weight)
    x = (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    return (x * norm.weight + norm.bias).clamp(min=0).permute(0, 4, 1, 2, 3)


@pytest.mark.parametrize('temporal_kernel', [1, 3])
@pytest.mark.parametrize('num_offsets', [1, 3])
@pytest.mark.parametrize('window', [(9, 9), (5, 9), (13, 3), (1, 17)])
def test_conv(window, num_offsets, temporal_kernel):
    extraction = build(
        'ConvExtraction',
        window=window,
        channels=(2, 3, 4, 5),
        temporal_kernel=temporal_kernel,
    ).eval()
    stss = make_stss((2, 1, 3, 1, num_offsets, *window))
    x = stss.reshape(6, 1, num_offsets, *window)
    for layer in extraction.layers:
        x = conv_by_sums(x, layer, temporal_kernel)
    expected = x.mean((-2, -1)).transpose(1, 2).reshape(2, 1, 3, 1, num_offsets, 5)
    torch.testing.assert_close(extraction(stss), expected)


def test_offsets_mix_only_with_3x3x3_kernels():
    stss = make_stss((1, 1, 1, 1, 5, 5, 5)).requires_grad_()
    for temporal_kernel, seen in [(1, [3]), (3, [2, 3, 4])]:
        extraction = build(
            'ConvExtraction',
            window=(5, 5),
            channels=(8,),
            temporal_kernel=temporal_kernel,
        )
        feats = extraction.eval()(stss)
        (grad,) = torch.autograd.grad(feats[..., 3, :].sum(), stss)
        reached = grad.abs().sum((0, 1, 2, 3, 5, 6)).nonzero().flatten().tolist()
        assert reached == seen


# Sizes of the maps after each layer; 9x9 is the official code.
@pytest.mark.parametrize(
    ('side', 'sizes', 'strides', 'paddings'),
    [
        (1, [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]),
        (3, [3, 3, 3, 1], [1, 1, 1, 1], [1, 1, 1, 0]),
        (5, [5, 3, 3, 1], [1, 2, 1, 1], [1, 1, 1, 0]),
        (9, [9, 5, 3, 1], [1, 2, 2, 1], [1, 1, 1, 0]),
        (7, [7, 3, 3, 1], [1, 2, 1, 1], [1, 0, 1, 0]),
        (11, [11, 5, 3, 2], [1, 2, 2, 2], [1, 0, 1, 1]),
        (13, [13, 7, 3, 2], [1, 2, 2, 2], [1, 1, 0, 1]),
        (17, [17, 9, 5, 2], [1, 2, 2, 2], [1, 1, 1, 0]),
    ],
)
def test_rule_for_strides(side, sizes, strides, paddings):
    extraction = build('ConvExtraction', window=(side, 9)).eval()
    convs = [layer.conv for layer in extraction.layers]
    assert [conv.stride for conv in convs] == list(
        zip(strides, (1, 2, 2, 1), strict=True)
    )
    assert [conv.padding for conv in convs] == list(
        zip(paddings, (1, 1, 1, 0), strict=True)
    )
    x, seen = torch.zeros(1, 1, side, 9), []
    for layer in extraction.layers:
        x = layer(x)
        seen.append(tuple(x.shape[-2:]))
    assert seen == list(zip(sizes, (9, 5, 3, 1), strict=True))


def test_parameter_names():
    names = set()
    for i in range(4):
        names.add(f'layers.{i}.conv.weight')
        for name in nn.BatchNorm2d(1).state_dict():
            names.add(f'layers.{i}.bn.{name}')
    for temporal_kernel in (1, 3):
        extraction = build('ConvExtraction', temporal_kernel=temporal_kernel)
        assert set(extraction.state_dict()) == names


@pytest.mark.parametrize('side', range(1, 36, 2))
def test_every_similarity_reaches_the_features(side):
    extraction = build('ConvExtraction', window=(side, 5), channels=(1, 1, 1, 1)).eval()
    for layer in extraction.layers:
        nn.init.ones_(layer.conv.weight)
        nn.init.zeros_(layer.norm.running_mean)
        nn.init.ones_(layer.norm.weight)
        nn.init.zeros_(layer.norm.bias)
    stss = torch.ones(1, 1, 1, 1, 1, side, 5, requires_grad=True)
    (grad,) = torch.autograd.grad(extraction(stss).sum(), stss)
    assert (grad > 0).all()


CASES = [
    ('SoftArgmaxExtraction', {}),
    ('KernelSoftArgmaxExtraction', {}),
    ('MLPExtraction', dict(channels=(3, 2))),
    ('ConvExtraction', dict(channels=(2, 2, 3))),
    ('ConvExtraction', dict(channels=(2, 2, 3), temporal_kernel=3)),
]


@pytest.mark.parametrize(('type', 'kwargs'), CASES)
def test_gradcheck(type, kwargs):
    extraction = build(type, window=(5, 3), **kwargs).double()
    stss = make_stss((1, 2, 1, 2, 2, 5, 3), torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(extraction, stss)


@pytest.mark.parametrize(('type', 'kwargs'), CASES)
def test_bfloat16(type, kwargs):
    extraction = build(type, window=(5, 3), **kwargs).eval()
    stss = make_stss((1, 3, 2, 1, 2, 5, 3), torch.bfloat16)
    with torch.autocast('cpu', torch.bfloat16):
        actual = extraction(stss)
    assert actual.dtype == torch.bfloat16
    torch.testing.assert_close(
        actual.float(), extraction(stss.float()), rtol=2e-2, atol=2e-2
    )


@pytest.mark.parametrize(('type', 'kwargs'), CASES)
def test_in_a_block(type, kwargs):
    block = MODELS.build(
        dict(
            type='SELFYBlock',
            in_channels=4,
            num_segments=2,
            offsets=(0, 1),
            window=(5, 3),
            reduced_channels=8,
            norm_cfg=dict(type='GN', num_groups=1),
            extraction=dict(type=type, **kwargs),
        )
    )
    # In training mode and with a non-default norm.
    block(torch.randn(4, 4, 7, 5)).sum().backward()
    assert isinstance(block.integration.project.norm, nn.GroupNorm)
    for name, parameter in block.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='ConvExtraction', channels=()), 'channels is empty'),
        (dict(type='ConvExtraction', temporal_kernel=2), 'must be 1 or 3, but got 2'),
        (dict(type='ConvExtraction', window=(4, 5)), r'odd .*\(4, 5\)'),
        (dict(type='MLPExtraction', channels=()), 'channels is empty'),
        (dict(type='MLPExtraction', window=(4, 5)), r'odd .*\(4, 5\)'),
        (
            dict(type='SoftArgmaxExtraction', temperature=0),
            'temperature must be a positive',
        ),
        (dict(type='SoftArgmaxExtraction', window=(4, 5)), r'odd .*\(4, 5\)'),
        (dict(type='KernelSoftArgmaxExtraction', sigma=-1), 'sigma must be a positive'),
    ],
)
def test_bad_config(cfg, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(cfg)
