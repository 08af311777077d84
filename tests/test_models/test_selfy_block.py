# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import copy
import re

import pytest
import torch
from mmaction.registry import MODELS
from small_blocks import build_small_block
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

OFFICIAL = dict(
    fusion=dict(type='ResidualFusion', relu='after'), zero_init_last_norm=True
)


@pytest.mark.parametrize('size', [(8, 8), (7, 9), (3, 2), (1, 1)])
@pytest.mark.parametrize('scale', [0.25, 0.5, 1, 2])
def test_any_size(size, scale):
    x = torch.randn(6, 6, *size)
    assert build_small_block(scale=scale).eval()(x).shape == x.shape


def test_shapes_between_the_steps():
    block, shapes = build_small_block(), {}
    for name, step in block.named_children():
        step.register_forward_hook(
            lambda step, args, out, name=name: shapes.update({name: tuple(out.shape)})
        )
    block(torch.randn(6, 6, 8, 6))
    assert shapes == {
        'reduction': (6, 4, 4, 3),
        'transformation': (2, 3, 4, 3, 3, 5, 5),
        'extraction': (2, 3, 4, 3, 3, 5),
        'integration': (6, 6, 4, 3),
        'restoration': (6, 6, 8, 6),
        'fusion': (6, 6, 8, 6),
    }


def test_defaults_are_those_of_the_paper():
    block = MODELS.build(dict(type='SELFYBlock', in_channels=16))
    assert block.transformation.offsets == (-2, -1, 0, 1, 2)
    assert block.transformation.window == (9, 9)
    assert [layer.out_channels for layer in block.extraction.layers] == [4, 16, 64, 64]
    assert [layer.out_channels for layer in block.integration.layers] == [64] * 4
    assert block.fusion.relu == 'before'


def test_gradcheck():
    # ReLU is not differentiable at zero, so each is replaced.
    block = build_small_block(norm_cfg=dict(type='BN')).double().eval()
    for name, module in block.named_modules():
        if isinstance(module, nn.ReLU):
            parent = block.get_submodule(name.rpartition('.')[0])
            parent.activate = nn.Softplus()
    x = torch.randn(3, 6, 3, 4, dtype=torch.float64, requires_grad=True)
    block.fusion.relu = 'none'
    assert torch.autograd.gradcheck(block, x)


@pytest.mark.parametrize('relu', ['after', 'none'])
def test_starts_as_the_identity(relu):
    block = build_small_block(
        **{**OFFICIAL, 'fusion': dict(type='ResidualFusion', relu=relu)}
    )
    x = torch.randn(6, 6, 8, 8)
    if relu == 'after':
        assert not torch.equal(block(x), x)  # V < 0 does not pass the ReLU
        x = x.relu()
    assert torch.equal(block(x), x)
    assert torch.equal(block.eval()(x), x)


def test_eq9_adds_no_negative_values():
    x = torch.randn(6, 6, 8, 8)
    added = build_small_block()(x) - x
    assert (added >= 0).all()
    assert added.max() > 0


@pytest.mark.parametrize('form', [{}, OFFICIAL], ids=['paper', 'official'])
def test_every_parameter_moves_within_two_steps(form, unmoved_parameters):
    assert unmoved_parameters(build_small_block(**form)) == []


def test_zero_scale_with_eq9_is_rejected():
    message = re.escape("zero_init_last_norm=True with fusion=dict(relu='before')")
    with pytest.raises(ValueError, match=message):
        build_small_block(zero_init_last_norm=True)


def test_wrong_num_segments():
    with pytest.raises(ValueError, match='7 frames .* num_segments=3'):
        build_small_block()(torch.randn(7, 6, 4, 4))


def test_clips_do_not_mix():
    block = build_small_block().eval()
    x = torch.randn(6, 6, 8, 8)
    torch.testing.assert_close(block(x)[3:], block(x[3:]))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    block, x = build_small_block(), torch.randn(6, 6, 8, 8)
    expected = block(x)
    with torch.autocast('cpu', dtype=dtype):
        out = block(x)
    out.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in block.parameters())
    torch.testing.assert_close(out.float(), expected, rtol=0.1, atol=0.1)


def test_non_contiguous_input():
    block, x = build_small_block().eval(), torch.randn(6, 6, 8, 8)
    expected = block(x)
    torch.testing.assert_close(
        block(x.contiguous(memory_format=torch.channels_last)), expected
    )
    torch.testing.assert_close(block(torch.stack([x, x], -1)[..., 1]), expected)


@pytest.mark.slow
@pytest.mark.parametrize('training', [True, False])
def test_compiles_once_for_all_batch_sizes(training):
    counter = CompileCounterWithBackend('aot_eager')
    plain = build_small_block().train(training)
    compiled = torch.compile(copy.deepcopy(plain), fullgraph=True, backend=counter)
    for clips in (2, 3, 5):
        x = torch.randn(3 * clips, 6, 8, 8)
        torch._dynamo.mark_dynamic(x, 0)
        out, expected = compiled(x), plain(x)
        torch.testing.assert_close(out, expected)
        if training:
            out.square().sum().backward()
            expected.square().sum().backward()
    assert counter.frame_count == 1
    for actual, wanted in zip(compiled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(actual.grad, wanted.grad)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_a_thousand_autocast_steps_stay_finite(dtype):
    block = build_small_block()
    optimizer = torch.optim.SGD(block.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    for _ in range(1000):
        # Features of very different magnitude, including zeros.
        x = torch.randn(3, 6, 4, 4, generator=generator).relu()
        x = x * 10 ** torch.empty(3, 1, 1, 1).uniform_(-4, 2, generator=generator)
        target = torch.randn(x.shape, generator=generator)
        with torch.autocast('cpu', dtype=dtype):
            out = block(x)
        loss = (out.float() - target).clamp(-1, 1).square().mean()
        assert loss.isfinite()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(value.isfinite().all() for value in block.state_dict().values())


def test_deterministic_mode():
    torch.use_deterministic_algorithms(True)
    try:
        grads = []
        for _ in range(2):
            block, x = build_small_block(), torch.ones(6, 6, 8, 8).cumsum(-1)
            block(x).square().sum().backward()
            grads.append([p.grad for p in block.parameters()])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_checkpointing_changes_no_result():
    plain, checkpointed = build_small_block(), build_small_block(with_cp=True)
    for x in (torch.randn(6, 6, 8, 8), torch.randn(3, 6, 8, 8)):
        outs = [block(x) for block in (plain, checkpointed)]
        assert torch.equal(*outs)
        for out in outs:
            out.square().sum().backward()
    for a, b in zip(plain.parameters(), checkpointed.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    # Running statistics as well, although the features are computed twice.
    torch.testing.assert_close(
        checkpointed.state_dict(), plain.state_dict(), rtol=0, atol=0
    )
    assert checkpointed.eval()(x).isfinite().all()


def test_checkpointing_of_several_backward_passes():
    plain = build_small_block().double()
    checkpointed = build_small_block(with_cp=True).double()
    x = torch.randn(3, 6, 8, 8, dtype=torch.float64, requires_grad=True)
    grads = []
    for block in (plain, checkpointed):
        out = block(x).square().sum()
        (first,) = torch.autograd.grad(out, x, retain_graph=True)
        (grad,) = torch.autograd.grad(out, x, create_graph=True)
        torch.testing.assert_close(first, grad)
        grads.append((grad, *torch.autograd.grad(grad.square().sum(), x)))
    torch.testing.assert_close(*grads)
    torch.testing.assert_close(
        checkpointed.state_dict(), plain.state_dict(), rtol=0, atol=0
    )


def test_forward_mode_and_second_derivatives():
    block = build_small_block(
        extraction=dict(channels=(2, 3)), integration=dict(channels=(4,))
    )
    block = block.double().eval()
    x, tangent = torch.randn(2, 3, 6, 5, 4, dtype=torch.float64)
    inputs = {**dict(block.named_parameters()), **dict(block.named_buffers())}

    def run(x, gain):
        changed = {**inputs, 'reduction.conv.norm.weight': gain}
        return torch.func.functional_call(block, changed, (x,)).sin().sum()

    gain = block.reduction.conv.norm.weight.detach()
    _, actual = torch.func.jvp(run, (x, gain), (tangent, torch.ones_like(gain)))
    step = 1e-6
    ends = (run(x + h * tangent, gain + h) for h in (step, -step))
    expected = (next(ends) - next(ends)) / (2 * step)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)
    # Hessian-vector products in forward-over-reverse and reverse-over-reverse mode.
    gradient = torch.func.grad(run)
    _, actual = torch.func.jvp(lambda x: gradient(x, gain), (x,), (tangent,))
    x.requires_grad_()
    (first,) = torch.autograd.grad(run(x, gain), x, create_graph=True)
    (expected,) = torch.autograd.grad((first * tangent).sum(), x)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize('training', [True, False])
def test_checkpointing_keeps_only_the_input(training):
    x = torch.randn(6, 6, 8, 8, requires_grad=True)
    kept = {}
    for with_cp in (True, False):
        block = build_small_block(with_cp=with_cp).train(training)
        own = {tensor.data_ptr() for tensor in block.state_dict().values()}
        kept[with_cp] = set()

        def keep(tensor, own=own, kept=kept[with_cp]):
            if tensor.data_ptr() not in own:
                kept.add((tensor.data_ptr(), tuple(tensor.shape)))
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            out = block(x)
        out.sum().backward()
    assert kept[True] <= {(x.data_ptr(), tuple(x.shape))}
    assert len(kept[False]) > 10


def test_checkpointing_is_left_to_the_compiler():
    block, x = build_small_block(with_cp=True), torch.randn(6, 6, 8, 8)
    expected = copy.deepcopy(block)(x)
    compiled = torch.compile(block, fullgraph=True, backend='aot_eager')
    torch.testing.assert_close(compiled(x), expected)


def test_a_step_is_replaced_by_config():
    x = torch.randn(6, 6, 8, 8)
    block = build_small_block(fusion=dict(type='ReplacementFusion'))
    features = []
    block.restoration.register_forward_hook(
        lambda step, args, out: features.append(out)
    )
    # The default would add the visual features.
    assert torch.equal(block(x), features[0].relu())
    assert not torch.equal(block(x), build_small_block()(x))
