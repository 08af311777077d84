# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import io

import pytest
import torch
from mmengine.optim import AmpOptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper

from selfy_mmaction.compat import cpu_amp
from selfy_mmaction.compat.cpu_amp import apply_cpu_amp


def test_wrapper_needs_an_accelerator_only_without_the_workaround(symptoms):
    seen = symptoms['cpu_amp']
    assert seen['before'].startswith('AssertionError: ``AmpOptimizerWrapper`` is only')
    assert seen['after'] == 'scale 65536.0'


@pytest.fixture
def device(monkeypatch):
    """Take the CPU code paths, even on a machine with an accelerator."""
    monkeypatch.setattr('mmengine.runner.amp.get_device', lambda: 'cpu')
    monkeypatch.setattr(cpu_amp, 'get_device', lambda: 'cpu')
    for name in ('is_cuda_available', 'GradScaler'):
        monkeypatch.setattr(
            amp_optimizer_wrapper, name, getattr(amp_optimizer_wrapper, name)
        )
    apply_cpu_amp()


def build(**kwargs):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return model, AmpOptimWrapper(optimizer=optimizer, **kwargs)


def step(model, wrapper):
    with wrapper.optim_context(model):
        output = model(torch.ones(2, 3))
    wrapper.update_params(output.float().square().mean())
    return output


@pytest.mark.parametrize('loss_scale', ['dynamic', 512.0, {'init_scale': 8.0}])
def test_step_equals_unscaled_bfloat16(device, loss_scale):
    model, wrapper = build(loss_scale=loss_scale, clip_grad={'max_norm': 0.5})
    expected = [p.detach().clone().requires_grad_() for p in model.parameters()]
    with torch.autocast('cpu', torch.bfloat16):
        output = torch.nn.functional.linear(torch.ones(2, 3), *expected)
    output.float().square().mean().backward()
    torch.nn.utils.clip_grad_norm_(expected, 0.5)
    assert step(model, wrapper).dtype == torch.bfloat16
    for found, before in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(found, before - 0.1 * before.grad)


def test_state_is_saved_and_loaded(device):
    model, wrapper = build(loss_scale={'init_scale': 4.0, 'growth_interval': 1})
    step(model, wrapper)
    assert wrapper.loss_scaler.get_scale() == 8.0
    file = io.BytesIO()
    torch.save(wrapper.state_dict(), file)
    file.seek(0)
    _, other = build()
    other.load_state_dict(torch.load(file))
    assert other.loss_scaler.get_scale() == 8.0
    assert other.optimizer.state_dict()['state'][0]['momentum_buffer'] is not None


def test_not_applied_with_an_accelerator(monkeypatch):
    check = amp_optimizer_wrapper.is_cuda_available
    monkeypatch.setattr(cpu_amp, '_cpu_will_do', None)
    monkeypatch.setattr(cpu_amp, 'get_device', lambda: 'cuda')
    assert apply_cpu_amp() is False
    assert amp_optimizer_wrapper.is_cuda_available is check
