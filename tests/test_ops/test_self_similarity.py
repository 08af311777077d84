# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The op against Eq. 1 written as loops, and the loops against numbers by hand."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from selfy_mmaction.ops import self_similarity, self_similarity_loops

# (clips, T, C, H, W, offsets, window): odd and even sizes, one row, one frame,
# windows larger than the frame, sets that are not symmetric, offsets beyond the clip.
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
    )


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('similarity', ['cosine', 'dot'])
def test_queries_and_keys_that_differ(name, similarity):
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
def test_operator_is_registered_right(similarity):
    # Fake and real strides, autograd and aliasing; channels last as a host may give.
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
    # The law in double, on the same rounded features.
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


def test_keeps_only_the_features_for_backward():
    feats, offsets, window, num_segments = make_feats(CASES['plain'])
    sizes = []

    def pack(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        self_similarity(feats.requires_grad_(), offsets, window, num_segments)
    assert sizes
    assert max(sizes) <= feats.numel()


def test_compiles_in_one_piece():
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


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (dict(offsets=()), 'offsets is empty'),
        (dict(offsets=(1, 1)), r'differ from one another, but got \(1, 1\)'),
        (dict(offsets=(0.5,)), r'must be integers .*0\.5'),
        (dict(window=(4, 3)), r'two positive odd numbers .*\(4, 3\)'),
        (dict(window=(3, -1)), r'two positive odd numbers .*\(3, -1\)'),
        (dict(window=3), 'two positive odd numbers .* 3'),
        (dict(num_segments=4), '6 frames do not divide into clips of num_segments=4'),
        (dict(num_segments=0), 'num_segments=0'),
        (dict(similarity='l2'), "must be 'cosine' or 'dot', but got 'l2'"),
        (dict(backend='cuda'), "backend must be one of .* but got 'cuda'"),
        (dict(keys=torch.zeros(6, 4, 4, 5)), r'keys must .* got .*\(6, 4, 4, 5\)'),
        (dict(keys=torch.zeros(6, 4, 4, 4).half()), 'keys must .* got torch.float16'),
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
