# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Derivatives beyond the first backward pass, compared with the loops of Eq. 1."""

import pytest
import torch
from torch import func
from torch.autograd import forward_ad

from selfy_mmaction.ops import self_similarity, self_similarity_loops

ARGS = ((2, -1, 0), (3, 1), 3, 1e-6)


def make_case(name):
    """Return the op and its reference as functions of two tensors, and the tensors."""
    torch.manual_seed(0)
    shapes = (3, 2, 2, 3), (3, 2, 2, 3)
    actual, expected = (
        lambda feats, keys, f=f: f(feats, *ARGS, name, keys)
        for f in (self_similarity, self_similarity_loops)
    )
    return actual, expected, [torch.randn(s, dtype=torch.float64) for s in shapes]


every_similarity = pytest.mark.parametrize('name', ['cosine', 'dot'])


@every_similarity
def test_forward_mode(name):
    actual, expected, inputs = make_case(name)
    tangents = [torch.randn_like(x) for x in inputs]
    for arguments in ((inputs, tangents), (inputs[:1], tangents[:1])):
        fixed = inputs[len(arguments[0]) :]
        results = [
            func.jvp(lambda *x, f=f, fixed=fixed: f(*x, *fixed), *map(tuple, arguments))
            for f in (actual, expected)
        ]
        torch.testing.assert_close(*results)
    _, tangent = func.jvp(expected, tuple(inputs), tuple(tangents))
    compiled = torch.compile(actual, fullgraph=True, backend='aot_eager')
    for function in (actual, compiled):
        with forward_ad.dual_level():
            duals = map(forward_ad.make_dual, inputs, tangents)
            found = forward_ad.unpack_dual(function(*duals)).tangent
        torch.testing.assert_close(found, tangent)


@every_similarity
def test_transforms(name):
    actual, expected, inputs = make_case(name)
    batch = [torch.stack([x, x + 1]) for x in inputs]
    for transform, args in (
        (func.vmap, batch),
        (lambda f: func.vmap(f, (0, None)), (batch[0], inputs[1])),
        (lambda f: func.jacrev(f, (0, 1)), inputs),
        (lambda f: func.jacfwd(f, (0, 1)), inputs),
        (lambda f: func.hessian(lambda *x: f(*x).sin().sum(), (0, 1)), inputs),
        (lambda f: func.vmap(func.grad(lambda *x: f(*x).sin().sum())), batch),
    ):
        found = transform(actual)(*args)
        torch.testing.assert_close(found, transform(expected)(*args))


def check_second_derivatives(function, inputs):
    inputs = [x.requires_grad_() for x in inputs]
    assert torch.autograd.gradgradcheck(function, inputs)
    out = function(*inputs)
    grad = torch.randn_like(out)
    first = torch.autograd.grad(out, inputs, grad, retain_graph=True)
    again = torch.autograd.grad(out, inputs, grad, create_graph=True)
    torch.testing.assert_close(first, again)


@every_similarity
def test_second_derivatives(name):
    actual, _, inputs = make_case(name)
    check_second_derivatives(actual, inputs)
    check_second_derivatives(lambda x: actual(x, inputs[1].detach()), inputs[:1])
    check_second_derivatives(lambda x: actual(inputs[0].detach(), x), inputs[1:])


@pytest.mark.parametrize('similarity', ['cosine', 'dot'])
def test_second_derivatives_without_separate_keys(similarity):
    feats = torch.randn(3, 2, 2, 3, dtype=torch.float64)
    for keys in (lambda x: None, lambda x: x):
        check_second_derivatives(
            lambda x, keys=keys: self_similarity(x, *ARGS, similarity, keys(x)), [feats]
        )


@every_similarity
def test_batched_gradients(name):
    actual, expected, inputs = make_case(name)
    inputs = [x.requires_grad_() for x in inputs]
    outs = actual(*inputs), expected(*inputs)
    grads = torch.randn(4, *outs[0].shape, dtype=torch.float64)
    found, wanted = (
        torch.autograd.grad(out, inputs, grads, is_grads_batched=True) for out in outs
    )
    torch.testing.assert_close(found, wanted)


def test_tangent_of_only_the_gradient():
    actual, expected, inputs = make_case('cosine')
    inputs = [x.requires_grad_() for x in inputs]
    tangents = []
    for function in (actual, expected):
        out = function(*inputs)
        torch.manual_seed(1)
        grad, tangent = torch.randn(2, *out.shape, dtype=torch.float64)
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(grad, tangent)
            found = torch.autograd.grad(out, inputs, dual)
            tangents.append([forward_ad.unpack_dual(x).tangent for x in found])
    torch.testing.assert_close(*tangents)


def test_offsets_far_beyond_the_clip():
    feats = torch.randn(2, 2, 2, 3)
    stss = func.vmap(lambda x: self_similarity(x, (0, 60000), 3, 2))(feats[None])
    assert torch.equal(stss[0], self_similarity(feats, (0, 60000), 3, 2))


@every_similarity
def test_compiled_transforms(name):
    actual, expected, inputs = make_case(name)
    tangents = [torch.randn_like(x) for x in inputs]

    def derive(f):
        return lambda: (
            func.jvp(f, tuple(inputs), tuple(tangents))[1],
            func.grad(lambda *x: f(*x).sin().sum())(*inputs),
        )

    compiled = torch.compile(derive(actual), fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(), derive(expected)())
