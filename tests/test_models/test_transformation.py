# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The transformations are compared with their definitions in loops."""

from math import exp

import pytest
import torch
from mmaction.registry import MODELS
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

# (N, T, C, h, w, offsets, window): odd sizes, a single frame or offset, windows larger
# than the frame, queries without neighbors inside the clip.
CASES = {
    'plain': (2, 3, 4, 3, 5, (-1, 0, 1), (3, 5)),
    'any set': (1, 5, 3, 3, 4, (3, -2, 0), (5, 3)),
    'only the next frame': (2, 3, 4, 3, 3, (1,), (3, 1)),
    'one frame': (2, 1, 4, 3, 3, (0,), (3, 3)),
    'window beyond the frame': (1, 2, 3, 2, 3, (-1, 1), (7, 9)),
    'one position': (1, 3, 2, 1, 1, (0, 1), (1, 3)),
}


def count_flops(module: nn.Module, x: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        module.eval()(x)
    return counter.get_total_flops()


def build(case, **kwargs) -> nn.Module:
    _, num_segments, channels, _, _, offsets, window = case
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='EmbeddedGaussianTransformation',
            in_channels=channels,
            num_segments=num_segments,
            offsets=offsets,
            window=window,
            **kwargs,
        )
    )


def make_feats(case, dtype=torch.float64) -> Tensor:
    clips, num_segments, channels, height, width, _, _ = case
    torch.manual_seed(1)
    return torch.randn(clips * num_segments, channels, height, width).to(dtype)


def embedded_gaussian_loops(x: Tensor, transformation: nn.Module, case) -> Tensor:
    clips, num_segments, channels, height, width, offsets, (rows, cols) = case
    theta = transformation.theta.weight.detach().flatten(1).double()
    phi = transformation.phi.weight.detach().flatten(1).double()
    x = x.double().reshape(clips, num_segments, channels, height, width)
    out = torch.zeros(clips, num_segments, height, width, len(offsets), rows, cols)
    out = out.double()
    for n in range(clips):
        for t in range(num_segments):
            for i in range(height):
                for j in range(width):
                    weights = {}
                    for index, offset in enumerate(offsets):
                        for u in range(rows):
                            for v in range(cols):
                                s, y = t + offset, i + u - rows // 2
                                z = j + v - cols // 2
                                if (
                                    0 <= s < num_segments
                                    and 0 <= y < height
                                    and 0 <= z < width
                                ):
                                    query = theta @ x[n, t, :, i, j]
                                    key = phi @ x[n, s, :, y, z]
                                    weights[index, u, v] = exp((query @ key).item())
                    for place, weight in weights.items():
                        out[(n, t, i, j, *place)] = weight / sum(weights.values())
    return out


@pytest.mark.parametrize('name', CASES)
def test_embedded_gaussian(name):
    case = CASES[name]
    transformation = build(case).double()
    x = make_feats(case)
    expected = embedded_gaussian_loops(x, transformation, case)
    torch.testing.assert_close(transformation(x), expected)


@pytest.mark.parametrize('name', CASES)
def test_gradcheck(name):
    transformation = build(CASES[name]).double()
    x = make_feats(CASES[name]).requires_grad_()

    def run(x, theta, phi):
        weights = {'theta.weight': theta, 'phi.weight': phi}
        return torch.func.functional_call(transformation, weights, x)

    parameters = (transformation.theta.weight, transformation.phi.weight)
    assert torch.autograd.gradcheck(run, (x, *parameters), fast_mode=True)


@pytest.mark.parametrize(
    ('dtype', 'tolerance'),
    [(torch.float32, 1e-5), (torch.float16, 1e-2), (torch.bfloat16, 1e-2)],
)
def test_precision(dtype, tolerance):
    case = CASES['plain']
    transformation = build(case).to(dtype)
    x = make_feats(case, dtype)
    actual = transformation(x)
    assert actual.dtype == dtype
    expected = embedded_gaussian_loops(x, transformation, case)
    torch.testing.assert_close(
        actual.double(), expected, rtol=tolerance, atol=tolerance
    )


def test_large_products():
    # Beyond the range of float16 and of exp in float32.
    case = CASES['plain']
    transformation = build(case)
    x = 1e3 * make_feats(case, torch.float32)
    x.requires_grad_()
    actual = transformation(x)
    (grad,) = torch.autograd.grad(actual.square().sum(), x)
    assert grad.isfinite().all()
    torch.testing.assert_close(actual.sum((-3, -2, -1)), torch.ones(2, 3, 3, 5))
    half = transformation.half()(x.detach().half())
    assert half.isfinite().all()


def test_width_of_the_embedding():
    transformation = build(CASES['plain'])
    shapes = {name: tuple(p.shape) for name, p in transformation.named_parameters()}
    assert shapes == {'theta.weight': (4, 4, 1, 1), 'phi.weight': (4, 4, 1, 1)}


def test_in_a_block():
    block = MODELS.build(
        dict(
            type='SELFYBlock',
            in_channels=4,
            num_segments=3,
            offsets=(-1, 0, 1),
            window=(5, 5),
            reduced_channels=8,
            transformation=dict(type='EmbeddedGaussianTransformation'),
        )
    )
    x = torch.randn(6, 4, 7, 5)
    out = block(x)
    assert out.shape == x.shape
    out.sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='STSSTransformation'),
        dict(type='EmbeddedGaussianTransformation', in_channels=4),
    ],
)
def test_backend_by_name(cfg):
    cfg = dict(cfg, num_segments=3, offsets=(0,), window=(3, 3))
    x = torch.randn(3, 4, 3, 3, dtype=torch.float64)
    by_name = MODELS.build(dict(**cfg, backend='triton')).double()
    with pytest.raises(RuntimeError, match="backend='triton' cannot .*float64"):
        by_name(x)
    with pytest.raises(ValueError, match="backend must be .* got 'cuda'"):
        MODELS.build(dict(**cfg, backend='cuda'))


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (dict(offsets=()), 'offsets is empty'),
        (dict(window=(8, 9)), r'odd .*\(8, 9\)'),
    ],
)
def test_bad_config(changed, message):
    cfg = dict(type='EmbeddedGaussianTransformation', in_channels=4)
    with pytest.raises(ValueError, match=message):
        MODELS.build({**cfg, **changed})


@pytest.mark.parametrize('name', CASES)
def test_conv_transformation(name):
    case = CASES[name]
    clips, num_segments, channels, height, width, offsets, window = case
    cfg = dict(type='ConvTransformation', in_channels=channels, window=window)
    control = MODELS.build(
        dict(**cfg, num_segments=num_segments, offsets=offsets)
    ).double()
    x = make_feats(case).requires_grad_()
    frames = x.detach().reshape(clips, num_segments, channels, height, width)
    expected = torch.zeros(clips, num_segments, height, width, len(offsets), *window)
    expected = expected.double()
    for index, offset in enumerate(offsets):
        weight = control.convs[index].weight.detach().reshape(*window, channels)
        for t in range(num_segments):
            if 0 <= t + offset < num_segments:
                found = torch.einsum('ncyx,uvc->nyxuv', frames[:, t + offset], weight)
                expected[:, t, :, :, index] = found
    torch.testing.assert_close(control(x), expected)
    assert torch.autograd.gradcheck(control, x, fast_mode=True)


def test_conv_transformation_costs_as_much_as_the_similarity():
    inputs = torch.randn(8, 16, 6, 6)
    block = dict(type='SELFYBlock', in_channels=16, reduced_channels=8)
    plain = MODELS.build(block)
    control = MODELS.build(dict(block, transformation=dict(type='ConvTransformation')))
    assert count_flops(control, inputs) == count_flops(plain, inputs) > 0
    assert control(inputs).shape == inputs.shape


def test_conv_transformation_with_the_wrong_number_of_frames():
    control = MODELS.build(dict(type='ConvTransformation', in_channels=4))
    with pytest.raises(ValueError, match='12 frames cannot be split .*=8'):
        control(torch.randn(12, 4, 3, 3))
