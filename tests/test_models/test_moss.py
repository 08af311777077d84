# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""MOSS and the motion module, against definitions; faults of other code."""

import math

import pytest
import torch
from small_blocks import FrameHost
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from selfy_mmaction.models import (
    HigherOrderSTSS,
    MOSSBlock,
    MotionModule,
    STSSTransformation,
    insert_blocks,
)

SIMILARITIES = ('cosine', 'scaled_dot', 'softmax')
SMALL = dict(
    reduced_channels=6,
    extraction=dict(channels=(4,)),
    integration=dict(type='ReleasedIntegration', channels=(4, 5, 6)),
)


def similarities_by_loops(x, frames, offsets, window, similarity, clip_ends):
    """Compute the STSS tensor for each element by the definition."""
    x = x.unflatten(0, (-1, frames))  # (N, T, C, H, W)
    clips, _, channels, height, width = x.shape
    shape = (clips, frames, height, width, len(offsets), *window)
    stss = torch.zeros(shape, dtype=x.dtype)
    for n, t, h, w, k in torch.cartesian_prod(*map(torch.arange, shape[:5])).tolist():
        query = x[n, t, :, h, w]
        target = t + offsets[k]
        if clip_ends == 'replicate':
            target = min(max(target, 0), frames - 1)
        inside = torch.zeros(window, dtype=torch.bool)
        values = torch.zeros(window, dtype=x.dtype)
        for u in range(window[0]):
            for v in range(window[1]):
                row, col = h + u - window[0] // 2, w + v - window[1] // 2
                if not (0 <= row < height and 0 <= col < width):
                    continue
                inside[u, v] = True
                if not 0 <= target < frames:
                    continue
                key = x[n, target, :, row, col]
                product = (query * key).sum()
                if similarity == 'cosine':
                    values[u, v] = product / (query.norm() * key.norm())
                else:
                    values[u, v] = product / math.sqrt(channels)
        if similarity == 'softmax':
            weights = values[inside].exp()
            values[inside] = weights / weights.sum()
        stss[n, t, h, w, k] = values
    return stss


@pytest.mark.parametrize('clip_ends', ['zeros', 'replicate'])
@pytest.mark.parametrize('similarity', SIMILARITIES)
@pytest.mark.parametrize(
    ('frames', 'offsets', 'window', 'size'),
    [
        (4, (-2, -1, 0, 1, 2), (3, 5), (4, 3)),
        (3, (-1,), (3, 3), (2, 3)),  # L = 1, the frame before
        (2, (-2, -1, 0, 1, 2), (9, 9), (3, 3)),  # T < L; maps below half of the window
        (1, (-1, 0, 1), (5, 5), (1, 2)),
        (5, (3, -4), (1, 3), (2, 5)),
    ],
)
def test_similarities(similarity, clip_ends, frames, offsets, window, size):
    torch.manual_seed(0)
    x = torch.randn(2 * frames, 3, *size, dtype=torch.float64)
    x = x.transpose(-1, -2).contiguous().transpose(-1, -2)  # not contiguous
    before = x.clone()
    step = STSSTransformation(
        8, offsets, window, eps=1e-20, similarity=similarity, clip_ends=clip_ends
    )
    expected = similarities_by_loops(x, frames, offsets, window, similarity, clip_ends)
    torch.testing.assert_close(step(x, frames), expected, rtol=1e-9, atol=1e-9)
    assert torch.equal(x, before)  # ports of RLDX-1 scale the queries in place


@pytest.mark.parametrize('clip_ends', ['zeros', 'replicate'])
@pytest.mark.parametrize('similarity', SIMILARITIES)
def test_gradients(similarity, clip_ends):
    torch.manual_seed(0)
    x = torch.randn(3, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    step = STSSTransformation(
        3, (-2, 0, 1), 3, similarity=similarity, clip_ends=clip_ends
    )
    assert torch.autograd.gradcheck(step, x)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('clip_ends', ['zeros', 'replicate'])
@pytest.mark.parametrize('similarity', SIMILARITIES)
def test_zero_features_in_half_precision(similarity, clip_ends, dtype):
    # 1e-12, the epsilon of the official code, is zero in float16.
    x = torch.randn(4, 8, 3, 3, dtype=dtype)
    x[1] = 0
    x.requires_grad_()
    stss = STSSTransformation(4, similarity=similarity, clip_ends=clip_ends)(x)
    stss.sum().backward()
    assert stss.dtype == dtype
    assert stss.isfinite().all()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize('build', [MOSSBlock, MotionModule])
@pytest.mark.parametrize('size', [(1, 1), (3, 2), (5, 7)])
@pytest.mark.parametrize('frames', [1, 3])
def test_any_size(build, size, frames):
    block = build(8, encoder=SMALL, orders=(1, 2), with_cp=True)
    x = torch.randn(2 * frames, 8, *size, requires_grad=True)
    out = block(x, frames)
    out.sum().backward()
    assert out.shape == x.shape
    assert x.grad.isfinite().all()


@pytest.mark.parametrize('build', [MOSSBlock, MotionModule])
def test_activation_checkpointing_keeps_statistics(build):
    blocks = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        block = build(8, num_segments=3, encoder=SMALL, with_cp=with_cp)
        x = torch.randn(6, 8, 4, 4, requires_grad=True)
        block(x).square().sum().backward()
        blocks.append([*block.state_dict().values(), x.grad])
    for plain, checkpointed in zip(*blocks, strict=True):
        torch.testing.assert_close(checkpointed, plain)


def test_orders():
    torch.manual_seed(0)
    options = dict(in_channels=8, num_segments=3, window=3, encoder=SMALL)
    all_orders = HigherOrderSTSS(**options, orders=(1, 2, 3)).eval()
    x = torch.randn(6, 8, 4, 4)
    with torch.no_grad():
        terms, order = [], x
        for encoder in all_orders.encoders:
            order = encoder(order)
            terms.append(order)
        for chosen in ((1,), (2,), (1, 3), (3, 2)):
            module = HigherOrderSTSS(**options, orders=chosen).eval()
            assert len(module.encoders) == max(chosen)
            module.load_state_dict(all_orders.state_dict(), strict=False)
            expected = sum(terms[order - 1] for order in chosen)
            torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize(('scale', 'size'), [(0.5, (3, 4)), (2, (10, 14))])
def test_coarser_and_finer_grid(scale, size):
    block = MOSSBlock(8, num_segments=3, scale=scale, encoder=SMALL).eval()
    x = torch.randn(3, 8, 5, 7)
    with torch.no_grad():
        sums = block.stss(x)
        out = block(x)
    assert sums.shape[-2:] == size
    nearest = nn.functional.interpolate(sums, size=(5, 7), mode='nearest')
    torch.testing.assert_close(out, x + nearest)


@pytest.mark.parametrize('build', [MOSSBlock, MotionModule])
@pytest.mark.parametrize('layer_scale', [None, 0.1])
def test_starts_as_the_identity(build, layer_scale):
    block = build(
        8, encoder=SMALL, layer_scale=layer_scale, zero_init_residual=True
    ).eval()
    x = torch.randn(8, 8, 4, 4)
    torch.testing.assert_close(block(x), x)
    block.init_weights()
    torch.testing.assert_close(block(x), x)
    block.train()(x).sum().backward()
    for layer in block.stss.last_layers:
        assert layer.weight.grad.any()


def test_initialization_of_the_motion_module():
    block = MotionModule(64)
    block.init_weights()
    encoder = block.stss.encoders[0]
    assert encoder.reduction.linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not encoder.reduction.linear.bias.any()
    kernels = encoder.extraction.layers[0].conv.weight  # 81 -> 256
    assert kernels.std().item() == pytest.approx(math.sqrt(2 / 256), rel=0.05)


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (dict(orders=()), 'orders'),
        (dict(orders=(0,)), 'orders'),
        (dict(orders=(1, 1)), 'different'),
        (dict(orders=(100,)), 'from 1 to 9'),
        (dict(layer_scale=0), 'layer_scale'),
        (dict(encoder=dict(transformation=dict(similarity='cos'))), "'scaled_dot'"),
        (dict(encoder=dict(transformation=dict(clip_ends='wrap'))), "'replicate'"),
        (dict(encoder=dict(act_cfg=dict(type='Gelu'))), 'act_cfg'),
        (dict(encoder=dict(windows=3)), 'windows'),
        (dict(encoder=dict(integration=dict(channels=()))), 'channels'),
    ],
)
def test_wrong_options(options, text):
    with pytest.raises(ValueError, match=text):
        MOSSBlock(8, **options)


def test_motion_module_keeps_what_the_encoder_leaves_open():
    steps = dict(transformation=dict(clip_ends='zeros'), extraction=dict(channels=(4,)))
    block = MotionModule(8, similarity='softmax', encoder=steps)
    (encoder,) = block.stss.encoders
    assert encoder.transformation.similarity == 'softmax'
    assert encoder.transformation.clip_ends == 'zeros'
    assert encoder.reduction.norm.eps == 1e-6
    assert encoder.integration.out_channels == 512


@pytest.mark.parametrize(
    'encoder',
    [
        dict(transformation=dict(similarity='softmax')),
        dict(norm_cfg=dict(type='GN', num_groups=1)),
    ],
)
def test_motion_module_has_one_place_for_each_option(encoder):
    with pytest.raises(ValueError, match='only there'):
        MotionModule(8, encoder=encoder)


def test_unknown_integration_is_refused():
    # RLDX-1 takes any name but "lite" for "full".
    with pytest.raises(ValueError, match="'full'"):
        MotionModule(8, integration='Lite')


# Figures of the two codes.
MOSS_L = dict(
    reduced_channels=256,
    extraction=dict(channels=(96,)),
    integration=dict(channels=(96, 96, 192)),
)


@pytest.mark.parametrize(
    ('module', 'parameters'),
    [
        (lambda: HigherOrderSTSS(768, 320), 1_120_640),  # ViT-B/16
        (lambda: HigherOrderSTSS(768, 192), 1_070_976),  # "light"
        (lambda: HigherOrderSTSS(1024, 448, encoder=MOSS_L), 2_561_344),  # ViT-L/14
        (lambda: MotionModule(1152), 2_122_880),
        (lambda: MotionModule(1152, integration='full'), 8_547_456),
        (lambda: MotionModule(1152, orders=(1, 2)), 3_325_824),
        (lambda: MotionModule(1152, layer_scale=1e-5), 1_861_376),
    ],
)
def test_number_of_parameters(module, parameters):
    assert sum(p.numel() for p in module().parameters()) == parameters


def test_increments_of_table_3_of_moss():
    module = HigherOrderSTSS(768, 192).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.randn(8, 768, 14, 14))
    multiply_adds = counter.get_total_flops() / 2
    # MOSS's code compares all pairs of positions and keeps those of the window.
    positions, window = 14 * 14, 9 * 9
    per_neighbor = 2 * 8 * positions * 5 * 128  # orders, T, queries, L, channels
    as_in_code = multiply_adds + per_neighbor * (positions - window)
    assert as_in_code / 1e9 == pytest.approx(3.06, abs=0.005)
    # 151.5 - 148.4 G and 5.6 - 4.5 M.
    assert round(as_in_code / 1e9, 1) == 3.1
    assert round(sum(p.numel() for p in module.parameters()) / 1e6, 1) == 1.1


@pytest.mark.parametrize('block', ['MOSSBlock', 'MotionModule'])
def test_inserted_block_starts_as_the_identity(block):
    host = FrameHost().eval()
    x = torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        before = host(x)
        entry = dict(after='conv', block=dict(type=block, encoder=SMALL))
        insert_blocks(host, [entry], input_shape=(8, 3, 32, 32))
        torch.testing.assert_close(host.eval()(x), before)
    assert type(host.inserted_blocks['conv']).__name__ == block
