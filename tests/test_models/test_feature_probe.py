# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import copy

import pytest
import torch
from mmaction.registry import MODELS
from torch import nn

from selfy_mmaction.models.insertion.layout import find_layout
from selfy_mmaction.models.insertion.probe import default_input_shape, probe


class Permuted(nn.Module):
    """Convolution whose output is permuted."""

    def __init__(self, kind: type, channels: int, order: tuple[int, ...]) -> None:
        super().__init__()
        self.conv = kind(3, channels, 1)
        self.order = order
        self.layer = nn.Identity()

    def forward(self, x):
        return self.layer(self.conv(x).permute(self.order))


def layout_at(host, layer, input_shape, **kwargs):
    seen = probe(host, [layer], input_shape)
    layout, _ = find_layout(seen, layer, **kwargs)
    return layout


@pytest.mark.parametrize('channels', [5, 16, 64])
def test_layout_of_clips(channels):
    host = Permuted(nn.Conv3d, channels, (0, 1, 2, 3, 4))
    assert layout_at(host, 'layer', (1, 3, 8, 16, 16)).pattern == 'n c t h w'


@pytest.mark.parametrize(
    ('order', 'pattern'),
    [((0, 2, 3, 4, 1), 'n t h w c'), ((0, 2, 1, 3, 4), 'n t c h w')],
)
def test_other_layouts_of_clips_must_be_given(order, pattern):
    host = Permuted(nn.Conv3d, 64, order)
    with pytest.raises(ValueError, match=r"dict\(after='layer', layout='n t h w c'"):
        layout_at(host, 'layer', (1, 3, 8, 16, 16))
    layout = layout_at(host, 'layer', (1, 3, 8, 16, 16), pattern=pattern)
    assert layout.pattern == pattern


@pytest.mark.parametrize('channels', [5, 16])
def test_layout_of_frames(channels):
    host = Permuted(nn.Conv2d, channels, (0, 1, 2, 3))
    layout = layout_at(host, 'layer', (4, 3, 16, 16))
    assert layout.pattern == '(n t) c h w'
    assert layout.sizes == {'t': 4}


def test_other_layouts_of_frames_must_be_given():
    host = Permuted(nn.Conv2d, 5, (0, 2, 3, 1))
    with pytest.raises(
        ValueError, match=r"dict\(after='layer', layout='\(n t\) h w c'"
    ):
        layout_at(host, 'layer', (4, 3, 16, 16))


def test_host_is_not_changed():
    host = MODELS.build(dict(type='ResNet', depth=18))
    host.train()
    before = copy.deepcopy(host.state_dict())
    seen = probe(host, ['layer2'], (2, 3, 32, 32))
    assert seen.outputs['layer2'].shape == (2, 128, 4, 4)
    assert seen.outputs['layer2'].device.type == 'meta'
    assert host.training
    assert not any(module._forward_hooks for module in host.modules())
    after = host.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.device.type == 'cpu' and p.requires_grad for p in host.parameters())


class NeedsData(nn.Module):
    """Module whose output depends on values, which the meta device lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.conv(x) if x.sum().item() == 0 else x


def test_runs_on_the_cpu_if_values_are_needed():
    seen = probe(NeedsData(), ['conv'], (2, 3, 4, 4))
    assert seen.outputs['conv'].device.type == 'cpu'
    assert seen.outputs['conv'].shape == (2, 4, 4, 4)


def test_multiply_adds():
    # 2 frames of 8x8, 3 to 5 channels, 3x3 weights.
    host = nn.Conv2d(3, 5, 3, padding=1)
    assert probe(host, [], (2, 3, 8, 8)).multiply_adds == 2 * 8 * 8 * 3 * 5 * 9


def test_default_input():
    tsm = MODELS.build(
        dict(type='ResNetTSM', depth=18, num_segments=4, pretrained2d=False)
    )
    assert default_input_shape(tsm) == (4, 3, 224, 224)
    flow = MODELS.build(dict(type='ResNet', depth=18, in_channels=10))
    assert default_input_shape(flow, 3) == (3, 10, 224, 224)


@pytest.mark.parametrize(
    'cfg', [dict(type='ResNet', depth=18), dict(type='ResNet3dSlowOnly', depth=18)]
)
def test_no_default_input(cfg):
    with pytest.raises(ValueError, match=r'give input_shape.*\(8, 3, 224, 224\)'):
        default_input_shape(MODELS.build(cfg))


def test_wrong_input_shape():
    host = MODELS.build(dict(type='ResNet', depth=18))
    with pytest.raises(ValueError, match=r'ResNet does not run on .*\(1, 3, 8'):
        probe(host, ['layer2'], (1, 3, 8, 32, 32))


class Tokens(nn.Module):
    """Class tokens, and one token per 4x4 pixels of each frame."""

    def __init__(self, class_tokens: int = 1) -> None:
        super().__init__()
        self.patches = nn.Conv3d(3, 6, (1, 4, 4), stride=(1, 4, 4))
        self.layer = nn.Identity()
        self.class_tokens = class_tokens

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.layer(torch.cat((x[:, : self.class_tokens], x), 1))


@pytest.mark.parametrize('class_tokens', [0, 1])
def test_sizes_of_tokens(class_tokens):
    host = Tokens(class_tokens)
    layout = layout_at(host, 'layer', (1, 3, 2, 12, 20), pattern='n (t h w) c')
    assert layout.sizes == dict(t=2, h=3, w=5)
    assert layout.class_tokens == class_tokens


def test_several_class_tokens_must_be_given():
    with pytest.raises(ValueError, match='fits no layout.*class_tokens'):
        layout_at(Tokens(3), 'layer', (1, 3, 2, 12, 20), pattern='n (t h w) c')
    layout = layout_at(
        Tokens(3), 'layer', (1, 3, 2, 12, 20), pattern='n (t h w) c', class_tokens=3
    )
    assert layout.sizes == dict(t=2, h=3, w=5)


def test_wrong_sizes():
    with pytest.raises(ValueError, match=r"fits no .* with sizes=\{'t': 3"):
        layout_at(
            Tokens(),
            'layer',
            (1, 3, 2, 12, 20),
            pattern='n (t h w) c',
            sizes=dict(t=3, h=3, w=5),
        )


def test_order_of_tokens_is_not_guessed():
    with pytest.raises(ValueError, match=r'\(1, 31, 6\).*ambiguous.*n \(t h w\) c'):
        layout_at(Tokens(), 'layer', (1, 3, 2, 12, 20))
