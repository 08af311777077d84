# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import io

import pytest
import torch
from mmengine.optim import AmpOptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper

from selfy_mmaction.compat import cpu_amp
from selfy_mmaction.compat.cpu_amp import close_cpu_amp


def test_wrapper_asks_for_an_accelerator_before_and_builds_after(shown_gaps):
    seen = shown_gaps['cpu_amp']
    assert seen['before'].startswith('AssertionError: ``AmpOptimizerWrapper`` is only')
    assert seen['after'] == 'scale 65536.0'


@pytest.fixture
def device(monkeypatch):
    """These are the CPU's paths, also where there is an accelerator."""
    monkeypatch.setattr('mmengine.runner.amp.get_device', lambda: 'cpu')
    monkeypatch.setattr(cpu_amp, 'get_device', lambda: 'cpu')
    for name in ('is_cuda_available', 'GradScaler'):
        monkeypatch.setattr(
            amp_optimizer_wrapper, name, getattr(amp_optimizer_wrapper, name)
        )
    close_cpu_amp()


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
def test_step_is_that_of_unscaled_bfloat16(device, loss_scale):
    model, wrapper = build(loss_scale=loss_scale, clip_grad={'max_norm': 0.5})
    expected = [p.detach().clone().requires_grad_() for p in model.parameters()]
    with torch.autocast('cpu', torch.bfloat16):
        output = torch.nn.functional.linear(torch.ones(2, 3), *expected)
    output.float().square().mean().backward()
    torch.nn.utils.clip_grad_norm_(expected, 0.5)
    assert step(model, wrapper).dtype == torch.bfloat16
    for found, before in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(found, before - 0.1 * before.grad)


def test_state_travels(device):
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


def test_nothing_is_done_with_an_accelerator(monkeypatch):
    check = amp_optimizer_wrapper.is_cuda_available
    monkeypatch.setattr(cpu_amp, '_cpu_will_do', None)
    monkeypatch.setattr(cpu_amp, 'get_device', lambda: 'cuda')
    assert close_cpu_amp() is False
    assert amp_optimizer_wrapper.is_cuda_available is check
