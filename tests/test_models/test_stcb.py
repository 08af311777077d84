# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.registry import MODELS
from torch import nn


def build(type: str, **kwargs) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(dict(type=type, **kwargs))


@pytest.mark.parametrize('type', ['STCB', 'SELFYSBlock'])
def test_receptive_field_on_the_grid(type):
    block = build(type, in_channels=4, num_segments=7, reduced_channels=8).eval()
    grids = []
    block.reduction.register_forward_hook(lambda step, args, out: grids.append(out))
    out = block(torch.randn(7, 4, 26, 30))
    (grid,) = grids  # (T, C_r, 13, 15)
    # Position (3, 6, 7) of the grid is written to rows 12 and 13, columns 14 and 15.
    (gradient,) = torch.autograd.grad(out[3, :, 12, 14].sum(), grid)
    expected = torch.zeros(7, 13, 15, dtype=torch.bool)
    expected[1:6, 2:11, 3:12] = True
    assert torch.equal(gradient.ne(0).any(1), expected)


def num_parameters(block: nn.Module) -> int:
    return sum(parameter.numel() for parameter in block.parameters())


def test_similar_number_of_parameters():
    stcb, selfy_s = (
        num_parameters(build(type, in_channels=128)) for type in ('STCB', 'SELFYSBlock')
    )
    assert stcb == pytest.approx(selfy_s, rel=0.1)


def test_selfy_s_is_selfy_without_its_spatial_convolutions():
    selfy, selfy_s = (
        build(type, in_channels=128) for type in ('SELFYBlock', 'SELFYSBlock')
    )
    spatial = [
        name
        for name, module in selfy_s.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)
    ]
    assert all(name.startswith(('reduction', 'extraction')) for name in spatial)
    layers = num_parameters(selfy.integration.layers)
    assert layers == 4 * (64 * 64 * 9 + 2 * 64)
    assert num_parameters(selfy) - num_parameters(selfy_s) == layers
    assert selfy_s.fusion.relu == 'before'


def test_stcb_is_a_chain_of_3d_convolutions():
    kernels = [(1, 3, 3), (3, 3, 3), (3, 3, 3), (1, 3, 3)]
    block = build(
        'STCB',
        in_channels=6,
        num_segments=3,
        reduced_channels=4,
        channels=(5, 7, 3, 4),
    ).double()
    x = torch.randn(6, 4, 5, 4, dtype=torch.float64)
    # Plain sums over the taps of each kernel on a padded clip, normalized with the mean
    # and variance of the batch.
    maps = x.view(2, 3, 4, 5, 4)  # (N, T, C, h, w)
    layers = [*block.layers, block.project]
    for layer, kernel in zip(layers, [*kernels, (1, 1, 1)], strict=True):
        t, u, v = (n // 2 for n in kernel)
        padded = nn.functional.pad(maps, (v, v, u, u, 0, 0, t, t))
        total = 0
        for i, j, k in torch.cartesian_prod(*map(torch.arange, kernel)).tolist():
            taps = padded[:, i : i + 3, :, j : j + 5, k : k + 4]
            weight = layer.conv.weight[:, :, i, j, k]
            total = total + torch.einsum('oc,ntcyx->ntoyx', weight, taps)
        dims = (0, 1, 3, 4)
        mean = total.mean(dims, keepdim=True)
        var = total.var(dims, correction=0, keepdim=True)
        maps = (total - mean) / (var + layer.norm.eps).sqrt()
        if layer is not block.project:
            maps = maps.relu()
    torch.testing.assert_close(block.on_grid(x), maps.flatten(0, 1))


def test_gradcheck():
    block = build('STCB', in_channels=4, num_segments=3, reduced_channels=3)
    block = block.double().eval()
    # ReLU is not differentiable at zero, so each is replaced.
    for layer in [block.reduction.conv, *block.layers]:
        layer.activate = nn.Softplus()
    block.fusion.relu = 'none'
    x = torch.randn(3, 4, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, x)


@pytest.mark.parametrize('type', ['STCB', 'SELFYSBlock'])
def test_can_start_as_the_identity(type):
    block = build(
        type,
        in_channels=4,
        fusion=dict(type='ResidualFusion', relu='none'),
        zero_init_last_norm=True,
    )
    x = torch.randn(8, 4, 6, 6)
    assert torch.equal(block(x), x)
    block.init_weights()
    assert torch.equal(block(x), x)
    with pytest.raises(ValueError, match=r"dict\(relu='before'\)"):
        build(type, in_channels=4, zero_init_last_norm=True)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(channels=(8, 8)), r'channels must have 4 .*\(8, 8\)'),
        (dict(channels=()), 'channels is empty'),
        (dict(scale=0.3), 'scale .* 0.3'),
    ],
)
def test_bad_config(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build('STCB', in_channels=4, **kwargs)
