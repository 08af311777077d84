# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The op is compared with the loops of Eq. 1, and the loops with hand-made values."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from selfy_mmaction.ops import self_similarity, self_similarity_loops

# (clips, T, C, H, W, offsets, window): odd and even sizes, a single row or frame,
# windows larger than the frame, asymmetric sets of offsets, offsets beyond the clip.
CASES = {
    'plain': (2, 3, 4, 4, 5, (-1, 0, 1), (3, 3)),
    'any set': (1, 5, 3, 3, 4, (3, -2, 0), (5, 3)),
    'pairs in any order': (1, 4, 3, 3, 4, (1, -2, 0, -1, 2, 3), (3, 5)),
    'only the next frame': (2, 3, 4, 3, 3, (1,), (3, 5)),
    'one frame': (2, 1, 4, 3, 3, (0,), (3, 3)),
    'window beyond the frame': (1, 2, 3, 2, 3, (-1, 1), (7, 9)),
    'frame wider than the window': (1, 2, 2, 3, 9, (-1, 0, 1), (3, 3)),
    'frame higher than the window': (2, 2, 2, 7, 4, (0, 1), (3, 5)),
    'one position': (1, 3, 2, 1, 1, (0, 1), (1, 3)),
    'offset beyond the clip': (1, 2, 3, 3, 2, (0, 2), (3, 1)),
}


def make_feats(case, dtype=torch.float64):
    clips, num_segments, channels, height, width, offsets, window = case
    torch.manual_seed(0)
    feats = torch.randn(clips * num_segments, channels, height, width, dtype=dtype)
    return feats, offsets, window, num_segments


def test_loops_by_hand():
    # Two frames of one row: (1, 0), (3, 4) and (0, 2), (1, 0).
    feats = torch.tensor([[[1.0, 3.0]], [[0.0, 4.0]], [[0.0, 1.0]], [[2.0, 0.0]]])
    feats = feats.reshape(2, 2, 1, 2).double()
    stss = self_similarity_loops(feats, (0, 1), (1, 3), num_segments=2, eps=0)
    assert stss.shape == (1, 2, 1, 2, 2, 1, 3)
    t0 = [[[[0, 1, 0.6]], [[0, 0, 1]]], [[[0.6, 1, 0]], [[0.8, 0.6, 0]]]]
    t1 = [[[[0, 1, 0]], [[0, 0, 0]]], [[[0, 1, 0]], [[0, 0, 0]]]]
    torch.testing.assert_close(stss[0, :, 0], torch.tensor([t0, t1]).double())


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('layout', ['contiguous', 'channels last', 'strided'])
def test_values_and_gradient(name, layout):
    feats, offsets, window, num_segments = make_feats(CASES[name])
    if layout == 'channels last':
        feats = feats.contiguous(memory_format=torch.channels_last)
    elif layout == 'strided':
        feats = torch.stack([feats, feats + 1], -1)[..., 0]
    feats.requires_grad_()
    actual = self_similarity(feats, offsets, window, num_segments)
    expected = self_similarity_loops(feats, offsets, window, num_segments)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    cotangent = torch.randn_like(actual)
    (actual_grad,) = torch.autograd.grad(actual, feats, cotangent)
    (expected_grad,) = torch.autograd.grad(expected, feats, cotangent)
    torch.testing.assert_close(actual_grad, expected_grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('name', CASES)
def test_gradcheck(name):
    feats, offsets, window, num_segments = make_feats(CASES[name])
    assert torch.autograd.gradcheck(
        lambda x: self_similarity(x, offsets, window, num_segments),
        feats.requires_grad_(),
        fast_mode=True,  # all gradients are compared with those of the loops above
    )


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('similarity', ['cosine', 'dot'])
def test_separate_keys(name, similarity):
    feats, offsets, window, num_segments = make_feats(CASES[name])
    keys = torch.randn_like(feats).contiguous(memory_format=torch.channels_last)
    inputs = (feats.requires_grad_(), keys.requires_grad_())
    args = (offsets, window, num_segments, 1e-6, similarity)
    actual = self_similarity(feats, *args, keys)
    expected = self_similarity_loops(feats, *args, keys)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    cotangent = torch.randn_like(actual)
    for actual_grad, expected_grad in zip(
        torch.autograd.grad(actual, inputs, cotangent),
        torch.autograd.grad(expected, inputs, cotangent, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(actual_grad, expected_grad, rtol=1e-10, atol=1e-10)


def test_dot_by_hand():
    # The two frames of test_loops_by_hand, with keys twice as long.
    feats = torch.tensor([[[1.0, 3.0]], [[0.0, 4.0]], [[0.0, 1.0]], [[2.0, 0.0]]])
    feats = feats.reshape(2, 2, 1, 2)
    for compute in (self_similarity, self_similarity_loops):
        stss = compute(feats, (0, 1), (1, 3), 2, similarity='dot', keys=2 * feats)
        t0 = [[[[0, 2, 6]], [[0, 0, 2]]], [[[6, 50, 0]], [[16, 6, 0]]]]
        t1 = [[[[0, 8, 0]], [[0, 0, 0]]], [[[0, 2, 0]], [[0, 0, 0]]]]
        assert torch.equal(stss[0, :, 0], torch.tensor([t0, t1]).float())


@pytest.mark.parametrize('similarity', ['cosine', 'dot'])
def test_opcheck(similarity):
    # Fake and real strides, autograd, aliasing; channels last, as a host may pass it.
    feats = torch.randn(3, 4, 3, 5).contiguous(memory_format=torch.channels_last)
    grad = torch.randn(1, 3, 3, 5, 2, 3, 1)
    args = ([-1, 0], [3, 1], 3, 1e-6, similarity, 'auto')
    ops = torch.ops.selfy_mmaction
    for keys in (None, torch.randn_like(feats)):
        torch.library.opcheck(ops.self_similarity_backward, (grad, feats, keys, *args))
        if keys is not None:
            keys = keys.requires_grad_()
        inputs = (feats.clone().requires_grad_(), keys)
        torch.library.opcheck(ops.self_similarity, (*inputs, *args))


@pytest.mark.parametrize(
    ('dtype', 'tolerance'),
    [(torch.float32, 1e-5), (torch.float16, 1e-2), (torch.bfloat16, 1e-2)],
)
def test_precision(dtype, tolerance):
    feats, offsets, window, num_segments = make_feats(CASES['plain'])
    feats = feats.to(dtype)
    actual = self_similarity(feats, offsets, window, num_segments)
    assert actual.dtype == dtype
    # The reference in double, on the same rounded features.
    expected = self_similarity_loops(feats.double(), offsets, window, num_segments)
    torch.testing.assert_close(
        actual.double(), expected, rtol=tolerance, atol=tolerance
    )


def test_float32_under_autocast():
    feats, offsets, window, num_segments = make_feats(CASES['plain'], torch.float32)
    plain = self_similarity(feats, offsets, window, num_segments)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        autocast = self_similarity(feats, offsets, window, num_segments)
    assert torch.equal(autocast, plain)


def test_zero_features_have_finite_gradients():
    feats = torch.zeros(4, 3, 3, 3, requires_grad=True)
    stss = self_similarity(feats, (0, 1), (3, 3), num_segments=4)
    stss.sum().backward()
    assert torch.equal(stss, torch.zeros_like(stss))
    assert feats.grad.isfinite().all()


def test_saves_only_the_features_for_backward():
    feats, offsets, window, num_segments = make_feats(CASES['plain'])
    sizes = []

    def pack(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        self_similarity(feats.requires_grad_(), offsets, window, num_segments)
    assert sizes
    assert max(sizes) <= feats.numel()


def test_compiles_as_one_graph():
    feats, offsets, window, num_segments = make_feats(CASES['plain'])
    feats.requires_grad_()

    def run(x):
        return self_similarity(x, offsets, window, num_segments).square().sum()

    compiled = torch.compile(run, fullgraph=True, backend='aot_eager')
    (expected,) = torch.autograd.grad(run(feats), feats)
    (actual,) = torch.autograd.grad(compiled(feats), feats)
    torch.testing.assert_close(actual, expected)


def test_flop_counter_counts_c_multiply_adds_per_value():
    feats, offsets, window, num_segments = make_feats(CASES['plain'])
    feats.requires_grad_()
    with FlopCounterMode(display=False) as counter:
        stss = self_similarity(feats, offsets, window, num_segments)
    multiply_adds = feats.size(1) * stss.numel()
    assert counter.get_total_flops() == 2 * multiply_adds
    with FlopCounterMode(display=False) as counter:
        stss.sum().backward()
    assert counter.get_total_flops() == 4 * multiply_adds


def test_int_offset_and_window():
    feats = torch.randn(3, 4, 4, 5)
    expected = self_similarity(feats, (-1,), (3, 3), 3)
    assert torch.equal(self_similarity(feats, -1, 3, 3), expected)
    offsets, window = np.array([-1]), np.array([3, 3])
    assert torch.equal(self_similarity(feats, offsets, window, np.int64(3)), expected)


@pytest.mark.parametrize('eps', [1.2e-38, 1e-30, 1])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
def test_zero_features_have_zero_similarity(dtype, eps):
    feats = torch.randn(2, 3, 3, 3, dtype=dtype)
    feats[:, :, 1] = 0
    feats.requires_grad_()
    stss = self_similarity(feats, (0, 1), (3, 3), num_segments=2, eps=eps)
    assert stss.isfinite().all()
    assert torch.equal(stss[:, :, 1], torch.zeros_like(stss[:, :, 1]))
    (grad,) = torch.autograd.grad(stss[:, :, [0, 2]].sum(), feats)
    assert grad[:, :, [0, 2]].isfinite().all()


@pytest.mark.parametrize(
    ('dtype', 'factor', 'tolerance'),
    [
        (torch.float32, 2.0**100, 1e-5),
        (torch.float32, 2.0**124, 1e-5),
        (torch.bfloat16, 2.0**90, 1e-2),
        (torch.float64, 2.0**700, 1e-10),
    ],
)
def test_features_whose_squares_overflow(dtype, factor, tolerance):
    torch.manual_seed(0)
    small = torch.randn(6, 4, 4, 5).to(dtype)
    # Only some positions; others are scaled down by the same factor.
    factors = torch.ones(6, 1, 4, 5, dtype=dtype)
    factors[::2, :, ::2], factors[1, :, 0] = factor, 1 / factor
    feats = (small * factors).requires_grad_()
    args = ((-1, 0, 2), (3, 5), 3)
    actual = self_similarity(feats, *args)
    # Scaling changes the cosine only through eps, which dominates near zero and is
    # negligible for large features.
    exact = small.double() * factors.double().clamp(max=2.0**40)
    exact.requires_grad_()
    expected = self_similarity_loops(exact, *args)
    tolerance = dict(rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(actual.double(), expected, **tolerance)
    assert actual.amax() > 0.9
    cotangent = torch.randn_like(actual)
    (grad,) = torch.autograd.grad(actual, feats, cotangent)
    (expected,) = torch.autograd.grad(expected, exact, cotangent.double())
    # The gradient shrinks as the features grow.
    largest = factors.double().clamp(min=1)
    torch.testing.assert_close(
        grad.double() * largest, expected * largest.clamp(max=2.0**40), **tolerance
    )


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('similarity', ['cosine', 'dot'])
def test_non_finite_features_stay_visible(bad, similarity):
    feats = torch.randn(2, 3, 3, 4)
    feats[0, 1, 1, 1] = bad
    feats[1, 0, 2, 3] = 1e30  # together with overflowing squares
    stss = self_similarity(feats, 0, 3, num_segments=2, similarity=similarity)
    assert not stss[0, 0, 1, 1].isfinite().any()
    for y in range(3):
        for x in range(3):
            assert not stss[0, 0, y, x, 0, 2 - y, 2 - x].isfinite()
    assert stss[0, 0, :, 3].isfinite().all()


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (dict(offsets=()), 'offsets is empty'),
        (dict(offsets=(1, 1)), r'must be unique, but got \(1, 1\)'),
        (dict(offsets=(0.5,)), r'must be integers .*0\.5'),
        (dict(window=(4, 3)), r'two positive odd integers .*\(4, 3\)'),
        (dict(window=(3, -1)), r'two positive odd integers .*\(3, -1\)'),
        (dict(window=4), 'two positive odd integers .* got 4'),
        (dict(window=(3, 3, 3)), r'window must .* got \(3, 3, 3\)'),
        (dict(window=(3.0, 3)), r'window must .* got \(3.0, 3\)'),
        (dict(window=(True, 3)), r'window must .* got \(True, 3\)'),
        (dict(window=float('nan')), 'window must .* got nan'),
        (dict(window='33'), "window must .* got '33'"),
        (dict(window=None), 'window must .* got None'),
        (dict(offsets='-1'), "offsets must be integers .* got '-1'"),
        (dict(offsets=('a',)), r"offsets must be integers .* got \('a',\)"),
        (dict(offsets=None), 'offsets must be integers .* got None'),
        (dict(offsets=float('nan')), 'offsets must be integers .* got nan'),
        (dict(offsets=(float('inf'),)), r'offsets must be integers .* got \(inf,\)'),
        (dict(offsets=[[1]]), r'offsets must be integers .* got \[\[1\]\]'),
        (dict(offsets={0, 1}), r'offsets must be integers .* got {0, 1}'),
        (dict(offsets=(True,)), r'offsets must be integers .* got \(True,\)'),
        (dict(offsets=2**40), 'offsets must be integers .* got 1099511627776'),
        *(
            (dict(eps=eps), f'eps must be a positive number.* got {eps!r}')
            for eps in (0, -1e-6, float('nan'), float('inf'), '1e-6', True, None, 1e-46)
        ),
        *(
            (dict(num_segments=value), f'num_segments must be an integer.* {value!r}')
            for value in ('3', 3.0, -3, True, None)
        ),
        (dict(num_segments=4), '6 frames cannot be split into clips of num_segments=4'),
        (dict(num_segments=0), 'num_segments must be an integer .* got 0'),
        (dict(similarity='l2'), "must be 'cosine' or 'dot', but got 'l2'"),
        (dict(backend='cuda'), "backend must be .* but got 'cuda'"),
        (dict(keys=torch.zeros(6, 4, 4, 5)), r'keys must .* got .*\(6, 4, 4, 5\)'),
        (dict(keys=torch.zeros(6, 4, 4, 4).half()), 'keys must .* got torch.float16'),
        (dict(keys=torch.zeros(6, 4, 4, 4, device='meta')), 'keys must .* on meta'),
        (dict(keys=np.zeros((6, 4, 4, 4))), "keys must .* <class 'numpy.ndarray'>"),
        (dict(feats=None), "feats must .* <class 'NoneType'>"),
        (dict(feats=torch.zeros(6, 4, 4)), r'\(6, 4, 4\)'),
        (dict(feats=torch.zeros(6, 4, 4, 4).int()), 'torch.int32'),
    ],
)
def test_bad_input(changed, message):
    kwargs = dict(
        feats=torch.zeros(6, 4, 4, 4), offsets=(0,), window=(3, 3), num_segments=3
    )
    with pytest.raises(ValueError, match=message):
        self_similarity(**{**kwargs, **changed})
