# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import pytest
import torch

from selfy_mmaction.models import FeatureLayout

N, T, C, H, W = 2, 3, 4, 5, 6
SIZES = dict(t=T, h=H, w=W)
CLIPS = torch.arange(N * T * C * H * W, dtype=torch.float32).view(N, T, C, H, W)

# The features of CLIPS in each layout, computed by permutations and views.
FEATURES = {
    '(n t) c h w': CLIPS.flatten(0, 1),
    '(n t) h w c': CLIPS.flatten(0, 1).permute(0, 2, 3, 1),
    'n c t h w': CLIPS.transpose(1, 2),
    'n t h w c': CLIPS.permute(0, 1, 3, 4, 2),
    'n (t h w) c': CLIPS.permute(0, 1, 3, 4, 2).reshape(N, T * H * W, C),
    'n (h w t) c': CLIPS.permute(0, 3, 4, 1, 2).reshape(N, H * W * T, C),
    '(n t) (h w) c': CLIPS.permute(0, 1, 3, 4, 2).reshape(N * T, H * W, C),
    '(h w) (n t) c': CLIPS.permute(3, 4, 0, 1, 2).reshape(H * W, N * T, C),
}


def layout_of(pattern: str, **kwargs) -> FeatureLayout:
    inside = ''.join(part.split(')')[0] for part in pattern.split('(')[1:])
    sizes = {axis: size for axis, size in SIZES.items() if axis in inside}
    return FeatureLayout(pattern, sizes, **kwargs)


@pytest.mark.parametrize('pattern', FEATURES)
def test_block_receives_frames_and_host_its_layout(pattern):
    seen = []

    def block(frames, num_segments):
        seen.append((frames, num_segments))
        return 2 * frames

    features = FEATURES[pattern]
    out = layout_of(pattern).run(block, features)
    ((frames, num_segments),) = seen
    assert torch.equal(frames, CLIPS.flatten(0, 1))
    assert num_segments == T
    assert torch.equal(out, 2 * features)
    assert out.stride() == features.stride()


@pytest.mark.parametrize(
    ('pattern', 'dim'), [('n (t h w) c', 1), ('(n t) (h w) c', 1), ('(h w) (n t) c', 0)]
)
def test_class_tokens_bypass_the_block(pattern, dim):
    tokens = FEATURES[pattern]
    classes = torch.full_like(tokens.narrow(dim, 0, 2), -7)
    layout = layout_of(pattern, class_tokens=2)
    out = layout.run(lambda frames, _: 2 * frames, torch.cat((classes, tokens), dim))
    assert torch.equal(out, torch.cat((classes, 2 * tokens), dim))


def test_omitted_size_is_computed():
    layout = FeatureLayout('n (t h w) c', dict(h=H, w=W))
    seen = []
    layout.run(lambda x, t: seen.append(t) or x, torch.zeros(N, 7 * H * W, C))
    assert seen == [7]


@pytest.mark.parametrize(
    ('shape', 'kwargs'),
    [
        ((N, T * H * W + 1, C), {}),
        ((N, T * H * W, C), dict(class_tokens=1)),
        ((N, 2 * T * H * W, C), {}),
        ((N, T, H, W, C), {}),
        ((N, 1, C), dict(class_tokens=1)),
    ],
)
def test_features_that_do_not_match_the_layout(shape, kwargs):
    layout = layout_of('n (t h w) c', **kwargs)
    with pytest.raises(ValueError, match=r"not match layout 'n \(t h w\) c'"):
        layout.run(lambda x, t: x, torch.zeros(shape))


def test_incomplete_clips():
    with pytest.raises(ValueError, match=r'shape \(7, 4, 5, 6\).* with t=3'):
        layout_of('(n t) c h w').measure((7, C, H, W))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('n c h w',), 'n, t, c, h and w once each'),
        (('b c t h w',), "got 'b c t h w'"),
        (('n t t c h w',), 'once each'),
        (('(n t) c h w',), r'omits 2 of them; give sizes=dict\(t='),
        (('n (t h w) c', dict(t=3)), r'sizes=dict\(t=..., h=..., w=...\)'),
        (('n c t h w', dict(t=3)), r"sizes has \['t'\]"),
        (('n c t h w', None, 1), 'class_tokens=1, but'),
    ],
)
def test_bad_layout(arguments, message):
    with pytest.raises(ValueError, match=message):
        FeatureLayout(*arguments)


def test_block_that_changes_the_shape():
    with pytest.raises(ValueError, match=r'to \(6, 4, 2, 6\).* must keep it'):
        layout_of('n c t h w').run(lambda x, t: x[:, :, :2], FEATURES['n c t h w'])
