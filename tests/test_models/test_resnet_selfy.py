# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import copy
from urllib.error import URLError

import pytest
import torch
from mmaction.registry import MODELS
from small_blocks import SMALL_BLOCK
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import selfy_mmaction.models.backbones.resnet_selfy as resnet_selfy

TYPES = ['ResNetSELFY', 'ResNetTSMSELFY']
ALL_STAGES = ['pool1', 'res2', 'res3', 'res4', 'res5']


def build(type='ResNetSELFY', after='res3', **kwargs) -> nn.Module:
    torch.manual_seed(0)
    cfg = dict(
        type=type,
        depth=18,
        num_segments=4,
        base_channels=8,
        selfy=dict(after=after, block=SMALL_BLOCK),
    )
    return MODELS.build({**cfg, **kwargs})


@pytest.mark.parametrize('type', TYPES)
@pytest.mark.parametrize('after', [*ALL_STAGES, ALL_STAGES])
def test_every_stage(type, after):
    backbone = build(type, after)
    out = backbone(torch.randn(8, 3, 64, 48))
    out.sum().backward()
    assert out.shape == (8, 64, 2, 2)
    assert all(p.grad.isfinite().all() for p in backbone.parameters())


@pytest.mark.parametrize(
    ('depth', 'strides', 'size', 'grid'),
    [
        (18, (1, 2, 2, 2), 224, (14, 14)),  # the paper
        (50, (1, 2, 2, 2), 224, (14, 14)),
        (18, (1, 1, 2, 2), 64, (8, 8)),  # the motion benchmark
    ],
)
def test_every_stage_matches_on_the_same_grid(depth, strides, size, grid):
    with torch.device('meta'):
        backbone = MODELS.build(
            dict(
                type='ResNetSELFY',
                depth=depth,
                strides=strides,
                selfy=dict(after=ALL_STAGES),
            )
        )
        grids = []
        for block in backbone.inserted_blocks.values():
            block.transformation.register_forward_hook(
                lambda step, args, out: grids.append(out.shape[2:4])
            )
        backbone(torch.empty(8, 3, size, size))
    assert grids == [grid] * 5


@pytest.mark.parametrize('type', TYPES)
def test_without_blocks_equals_the_host(type):
    host_type = type.replace('SELFY', '')
    host_args = {} if host_type == 'ResNet' else dict(pretrained2d=False)
    host = MODELS.build(dict(type=host_type, depth=18, **host_args))
    backbone = MODELS.build(dict(type=type, depth=18))
    backbone.load_state_dict(host.state_dict(), strict=True)
    host.eval()
    backbone.eval()
    x = torch.randn(8, 3, 32, 32)
    assert torch.equal(backbone(x), host(x))


@pytest.mark.parametrize('type', TYPES)
def test_host_keys_do_not_change(type):
    plain, selfy = build(type, selfy=None), build(type)
    inserted = [k for k in selfy.state_dict() if k.startswith('inserted_blocks.')]
    assert list(plain.state_dict()) + inserted == list(selfy.state_dict())


def torchvision_resnet18() -> dict[str, torch.Tensor]:
    """Make a checkpoint with the keys and shapes of torchvision's ResNet-18."""
    torch.manual_seed(1)
    state = {}

    def conv(name, *shape):
        state[f'{name}.weight'] = torch.randn(shape)

    def norm(name, channels):
        for key in ('weight', 'bias', 'running_mean', 'running_var'):
            state[f'{name}.{key}'] = torch.rand(channels)
        state[f'{name}.num_batches_tracked'] = torch.tensor(3)

    conv('conv1', 64, 3, 7, 7)
    norm('bn1', 64)
    before = 64
    for layer, width in enumerate((64, 128, 256, 512), start=1):
        for i in range(2):
            name = f'layer{layer}.{i}'
            conv(f'{name}.conv1', width, before, 3, 3)
            norm(f'{name}.bn1', width)
            conv(f'{name}.conv2', width, width, 3, 3)
            norm(f'{name}.bn2', width)
            if before != width:
                conv(f'{name}.downsample.0', width, before, 1, 1)
                norm(f'{name}.downsample.1', width)
            before = width
    state['fc.weight'], state['fc.bias'] = torch.randn(1000, 512), torch.randn(1000)
    return state


def torchvision_name(name: str) -> str:
    """Return the torchvision name of a parameter of the host."""
    *path, layer, kind, key = name.replace('.net.', '.').split('.')
    if layer == 'downsample':
        path, layer = [*path, 'downsample'], {'conv': '0', 'bn': '1'}[kind]
    elif kind == 'bn':
        layer = layer.replace('conv', 'bn')
    return '.'.join([*path, layer, key])


@pytest.mark.parametrize('type', TYPES)
def test_all_torchvision_weights_are_loaded(type, tmp_path):
    state = torchvision_resnet18()
    path = tmp_path / 'resnet18.pth'
    torch.save(state, path)
    backbone = MODELS.build(
        dict(
            type=type,
            depth=18,
            pretrained=str(path),
            selfy=dict(after=['res2', 'res3']),
        )
    )
    backbone.init_weights()
    host = {
        name: value
        for name, value in backbone.state_dict().items()
        if not name.startswith('inserted_blocks.')
        and not name.endswith('num_batches_tracked')
    }
    assert len(host) == len([k for k in state if 'num_batches' not in k]) - 2  # fc
    for name, value in host.items():
        assert torch.equal(value, state[torchvision_name(name)]), name


def test_pretrained_offline(monkeypatch):
    def offline(self):
        raise URLError('no route to host')

    monkeypatch.setattr(resnet_selfy.ResNet, 'init_weights', offline)
    backbone = build(pretrained='torchvision://resnet18')
    with pytest.raises(ConnectionError, match='resnet18.*no route.*pretrained'):
        backbone.init_weights()


@pytest.mark.parametrize('type', TYPES)
def test_zero_scale_survives_init_weights(type):
    block = dict(
        SMALL_BLOCK,
        fusion=dict(type='ResidualFusion', relu='after'),
        zero_init_last_norm=True,
    )
    plain = build(type, selfy=None)
    backbone = build(type, selfy=dict(after='res3', block=block))
    backbone.init_weights()
    assert (backbone.inserted_blocks['layer2'].integration.last_norm.weight == 0).all()
    plain.load_state_dict(
        {k: v for k, v in backbone.state_dict().items() if 'inserted' not in k}
    )
    x = torch.randn(4, 3, 32, 32)
    assert torch.equal(backbone(x), plain(x))


@pytest.mark.parametrize('type', TYPES)
def test_freezing_spares_the_blocks(type):
    backbone = build(type, frozen_stages=4, norm_eval=True, partial_bn=True)
    assert backbone.train() is backbone
    block = backbone.inserted_blocks['layer2']
    assert all(parameter.requires_grad for parameter in block.parameters())
    norms = [m for m in backbone.modules() if isinstance(m, _BatchNorm)]
    assert {n.training for n in block.modules() if isinstance(n, _BatchNorm)} == {True}
    assert not any(norm.training for norm in norms if norm not in set(block.modules()))
    assert not any(p.requires_grad for p in backbone.layer2.parameters())
    assert not any(m.training for m in backbone.eval().modules())


def test_temporal_pool_halves_the_clip_of_later_stages():
    backbone = build('ResNetTSMSELFY', ['res2', 'res3'], temporal_pool=True)
    segments = [
        block.transformation.num_segments for block in backbone.inserted_blocks.values()
    ]
    assert segments == [4, 2]
    assert backbone(torch.randn(8, 3, 32, 32)).shape[0] == 4


def test_deepcopy_uses_its_own_block():
    backbone, x = build().eval(), torch.randn(4, 3, 32, 32)
    copied = copy.deepcopy(backbone)
    expected = backbone(x)
    assert torch.equal(copied(x), expected)
    nn.init.constant_(copied.inserted_blocks['layer2'].integration.last_norm.bias, 9)
    assert not torch.equal(copied(x), expected)
    assert torch.equal(backbone(x), expected)


def test_compiles_as_one_graph():
    backbone, x = build('ResNetTSMSELFY'), torch.randn(4, 3, 32, 32)
    expected = copy.deepcopy(backbone)(x)
    compiled = torch.compile(backbone, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('type', TYPES)
def test_every_parameter_is_in_exactly_one_optimizer_group(type, grouped_parameters):
    grouped, all_parameters = grouped_parameters(build(type))
    assert grouped == all_parameters


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(after='res6'), "after='res6' is not a stage .*'pool1', 'res2'"),
        (dict(after='res5', num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1),
              out_indices=(2,)), "'res5' is not a stage"),
        (dict(selfy=dict(block=SMALL_BLOCK)), r"but got \{'block'"),
        (dict(selfy=dict(after='res3', blok={})), 'blok'),
    ],
)  # fmt: skip
def test_bad_selfy(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)
