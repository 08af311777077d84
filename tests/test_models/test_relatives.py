# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Blocks of ATM and MSNet, step by step in plain torch."""

import pytest
import torch
import torch.nn.functional as F
from small_blocks import FrameHost
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from selfy_mmaction.models import (
    ATMDifferenceBlock,
    ATMSimilarityBlock,
    DifferenceTransformation,
    ExpansionRestoration,
    MotionSqueezeBlock,
    STSSTransformation,
    insert_blocks,
)


def randomize(block):
    """Draw all weights and statistics, also those that start at zero or one."""
    torch.manual_seed(1)
    for parameter in block.parameters():
        nn.init.normal_(parameter, 0.1, 0.3)
    for name, buffer in block.named_buffers():
        if name.endswith(('running_mean', 'running_var')):
            nn.init.uniform_(buffer, 0.5, 1.5)
    return block.double().eval()


def conv_norm_relu(x, layer, padding, groups=1):
    """Convolution, batch norm and ReLU with the weights of a ConvModule."""
    x = F.conv2d(x, layer.conv.weight, padding=padding, groups=groups)
    norm = layer.norm
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    x = (x - norm.running_mean[:, None, None]) * scale[:, None, None]
    return F.relu(x + norm.bias[:, None, None])


def test_differences():
    torch.manual_seed(0)
    x = torch.randn(2 * 4, 3, 2, 5, dtype=torch.float64)
    offsets = (-2, -1, 0, 1, 3)
    out = DifferenceTransformation(4, offsets)(x)
    assert out.shape == (2, 4, 2, 5, 5, 3)
    clips = x.unflatten(0, (2, 4))
    for t in range(4):
        for index, offset in enumerate(offsets):
            inside = 0 <= t + offset < 4
            other = clips[:, t + offset] if inside else torch.zeros_like(clips[:, 0])
            expected = (other - clips[:, t]).permute(0, 2, 3, 1)
            torch.testing.assert_close(out[:, t, :, :, index], expected)


@pytest.mark.parametrize('kind', ['similarity', 'difference'])
def test_atm_block(kind):
    build = ATMSimilarityBlock if kind == 'similarity' else ATMDifferenceBlock
    offsets = (-1, 0, 1)
    block = randomize(build(6, num_segments=3, offsets=offsets))
    torch.manual_seed(0)
    x = torch.randn(2 * 3, 6, 5, 4, dtype=torch.float64).relu()
    with torch.no_grad():
        out = block(x)
        reduced = conv_norm_relu(x, block.reduction.conv, 1)
        if kind == 'similarity':
            # Both steps are compared with the official SELFY code elsewhere.
            feats = block.extraction(block.transformation(reduced))
        else:
            feats = DifferenceTransformation(3, offsets)(reduced)
        offsets_feats = []
        for index in range(3):
            maps = feats[..., index, :].flatten(0, 1).permute(0, 3, 1, 2)
            for layer in block.integration.layers:
                maps = conv_norm_relu(maps, layer, 1)
            offsets_feats.append(maps)
        assert len(block.integration.layers) == 2
        maps = conv_norm_relu(
            torch.cat(offsets_feats, 1), block.integration.project, padding=1
        )
        expected = F.relu(x + F.conv2d(maps, block.restoration.conv.weight))
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize('build', [ATMSimilarityBlock, ATMDifferenceBlock])
@pytest.mark.parametrize('scale', [0.25, 0.5, 1, 2])
def test_atm_starts_as_the_identity_and_learns(build, scale):
    block = build(6, num_segments=3, scale=scale)
    x = torch.randn(3, 6, 7, 5).relu()
    assert torch.equal(block(x), x)
    block.init_weights()
    assert torch.equal(block(x), x)
    block(x).sum().backward()
    assert block.restoration.conv.weight.grad.any()


def test_expansion_with_stride_writes_every_other_position():
    step = ExpansionRestoration(3, 4, scale=0.5)
    x = torch.randn(2, 3, 3, 2)
    out = step(x, (5, 4))
    weight = step.conv.weight.transpose(0, 1)
    torch.testing.assert_close(out[..., ::2, ::2], F.conv2d(x, weight))
    assert not out[..., 1::2, :].any()
    assert not out[..., 1::2].any()


def test_repeat_uses_the_last_frame_that_has_a_neighbor():
    torch.manual_seed(0)
    x = torch.randn(2 * 4, 3, 3, 3)
    offsets = (-3, -1, 0, 2)
    plain = STSSTransformation(4, offsets, 3)(x)
    repeated = STSSTransformation(4, offsets, 3, clip_ends='repeat')(x)
    # By offset, the frame whose similarities each frame gets.
    sources = [(3, 3, 3, 3), (1, 1, 2, 3), (0, 1, 2, 3), (0, 1, 1, 1)]
    for index, frames in enumerate(sources):
        expected = plain[:, list(frames), :, :, index]
        torch.testing.assert_close(repeated[:, :, :, :, index], expected)
    alone = STSSTransformation(4, (1,), 3, clip_ends='repeat')(x, 1)
    assert not alone.any()


def test_motion_squeeze_block():
    block = randomize(MotionSqueezeBlock(6, num_segments=3, window=5))
    torch.manual_seed(0)
    x = torch.randn(2 * 3, 6, 4, 6, dtype=torch.float64)
    with torch.no_grad():
        out = block(x)
        reduced = conv_norm_relu(x, block.reduction.conv, 0).unflatten(0, (2, 3))
        clips = []
        for clip in reduced:
            maps = [_displacements(clip[t], clip[t + 1], reach=2) for t in range(2)]
            clips += [*maps, maps[-1]]  # the last map again
        maps = torch.stack(clips)
        for index, layer in enumerate(block.integration.layers):
            padding = 1 if index else 3
            depthwise = layer.depthwise_conv
            maps = conv_norm_relu(maps, depthwise, padding, groups=maps.size(1))
            maps = conv_norm_relu(maps, layer.pointwise_conv, 0)
        widths = [
            layer.pointwise_conv.out_channels for layer in block.integration.layers
        ]
    assert widths == [16, 32, 64, 6]
    torch.testing.assert_close(out, x + maps)


def _displacements(frame, following, reach):
    """Rows, columns and confidence by MSNet's formula, position by position."""
    _, height, width = frame.shape
    out = torch.zeros(3, height, width, dtype=frame.dtype)
    places = [
        (u, v) for u in range(-reach, reach + 1) for v in range(-reach, reach + 1)
    ]
    for row in range(height):
        for col in range(width):
            query = frame[:, row, col]
            values = torch.zeros(len(places), dtype=frame.dtype)
            for index, (u, v) in enumerate(places):
                if 0 <= row + u < height and 0 <= col + v < width:
                    key = following[:, row + u, col + v]
                    norms = (query @ query + 1e-6).sqrt() * (key @ key + 1e-6).sqrt()
                    values[index] = (query @ key / norms).relu()
            best = places[values.argmax()]
            kernel = torch.tensor(
                [(u - best[0]) ** 2 + (v - best[1]) ** 2 for u, v in places],
                dtype=frame.dtype,
            )
            weights = ((-kernel / (2 * 5**2)).exp() * values * 100).softmax(0)
            moves = torch.tensor(places, dtype=frame.dtype) / reach
            out[:2, row, col] = weights @ moves
            out[2, row, col] = values.max()
    return out


def conv_cost(before, after, kernel, positions, groups=1, norm=True):
    """Return parameters and multiply-adds of a convolution with norm."""
    weights = before // groups * after * kernel**2
    return weights + 2 * after * norm, weights * positions


@pytest.mark.parametrize('kind', ['similarity', 'difference', 'squeeze'])
def test_cost_by_the_definition(kind):
    if kind == 'squeeze':
        block, channels, grid = MotionSqueezeBlock(512), 512, (8, 28, 28)
    else:
        name = ATMSimilarityBlock if kind == 'similarity' else ATMDifferenceBlock
        block, channels, grid = name(768), 768, (8, 14, 14)
    places = grid[0] * grid[1] * grid[2]
    after = 5 * places  # one map per offset
    if kind == 'squeeze':
        layers = [conv_cost(512, 64, 1, places), (0, places * 15 * 15 * 64)]
        widths = (3, 16, 32, 64, 512)
        for index, (before, width) in enumerate(
            zip(widths[:-1], widths[1:], strict=False)
        ):
            kernel = 3 if index else 7
            layers.append(conv_cost(before, before, kernel, places, groups=before))
            layers.append(conv_cost(before, width, 1, places))
    else:
        layers = [conv_cost(channels, 64, 3, places)]
        if kind == 'similarity':
            layers += [
                (0, after * 9 * 9 * 64),
                conv_cost(1, 4, 3, after * 81),
                conv_cost(4, 16, 3, after * 25),
                conv_cost(16, 64, 3, after * 9),
                conv_cost(64, 64, 3, after),
            ]
        layers += [conv_cost(64, 64, 3, after)] * 2
        layers += [
            conv_cost(5 * 64, 64, 3, places),
            conv_cost(64, channels, 1, places, norm=False),
        ]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        block.eval()(torch.randn(8, channels, *grid[1:]))
    parameters, multiply_adds = map(sum, zip(*layers, strict=True))
    assert sum(p.numel() for p in block.parameters()) == parameters
    assert counter.get_total_flops() // 2 == multiply_adds


@pytest.mark.parametrize(
    'block',
    [
        dict(type='ATMSimilarityBlock'),
        dict(type='ATMDifferenceBlock'),
        dict(
            type='SequentialBlocks',
            blocks=[dict(type='ATMSimilarityBlock'), dict(type='ATMDifferenceBlock')],
        ),
        dict(type='MotionSqueezeBlock'),
    ],
)
def test_inserted_block_trains(block):
    host = FrameHost()
    insert_blocks(host, [dict(after='conv', block=block)], input_shape=(8, 3, 56, 56))
    host(torch.randn(8, 3, 56, 56)).square().sum().backward()
    assert host.conv.weight.grad.isfinite().all()
