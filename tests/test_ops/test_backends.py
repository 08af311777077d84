# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import logging
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from selfy_mmaction.ops import backends, self_similarity
from selfy_mmaction.ops.backends import (
    check_backend,
    choose_backend,
    reasons_against_triton,
    self_test,
    torch_backend,
)

CUDA = torch.device('cuda:1')
PASSING = {'values': 1e-7, 'gradient': 2e-7}


@pytest.fixture(autouse=True)
def _forget():
    caches = (backends._choose, backends._failures_on, backends._log_once)
    for function in caches:
        function.cache_clear()
    yield
    for function in caches:
        function.cache_clear()


@pytest.fixture
def triton_backend(monkeypatch):
    """Stand-in for the kernels' module, because Triton may not be importable."""
    module = SimpleNamespace(
        is_interpreted=lambda: False,
        forward=torch_backend.forward,
        backward=torch_backend.backward,
    )
    monkeypatch.setattr(backends, 'import_module', lambda *args: module)
    return module


@pytest.fixture
def tested(monkeypatch, triton_backend):
    """Devices and dtypes on which the (passing) self-test ran."""
    calls = []

    def self_test(device, dtype):
        calls.append((device, dtype))
        return PASSING

    monkeypatch.setattr(backends, 'self_test', self_test)
    return calls


def feats_on(device, dtype=torch.float16, shape=(16, 128, 14, 14)):
    """Stand-in for features on a device that may not exist here."""
    return SimpleNamespace(
        device=torch.device(device), dtype=dtype, shape=torch.Size(shape)
    )


def choose(name, feats):
    return choose_backend(name, feats, [-1, 0, 1], [9, 9])


def test_unknown_name():
    assert check_backend('torch') == 'torch'
    with pytest.raises(ValueError, match="'auto', 'torch' or 'triton'.*got 'cuda'"):
        check_backend('cuda')
    with pytest.raises(ValueError, match='cuda'):
        choose('cuda', feats_on('cpu'))


def test_cpu_uses_torch(tested, caplog):
    caplog.set_level(logging.INFO)
    assert choose('auto', feats_on('cpu')) is torch_backend
    assert choose('auto', feats_on('cpu', torch.float64)) is torch_backend
    assert caplog.messages == ['Computing self-similarity on cpu with torch.']
    assert not tested


def test_gpu_uses_triton_after_one_test_per_device(tested, triton_backend, caplog):
    caplog.set_level(logging.INFO)
    for _ in range(2):
        for device in ('cuda:0', 'cuda:1'):
            for shape in ((16, 128, 14, 14), (8, 64, 7, 7)):
                feats = feats_on(device, shape=shape)
                assert choose('auto', feats) is triton_backend
                assert choose('triton', feats) is triton_backend
    assert choose('auto', feats_on('cuda:1', torch.float32)) is triton_backend
    half = torch.float16
    cuda = [torch.device('cuda', i) for i in range(2)]
    assert tested == [(cuda[0], half), (cuda[1], half), (cuda[1], torch.float32)]
    assert [record.levelname for record in caplog.records] == ['INFO'] * 3
    assert caplog.messages == [
        'Computing self-similarity on cuda:0 in torch.float16 with triton.',
        'Computing self-similarity on cuda:1 in torch.float16 with triton.',
        'Computing self-similarity on cuda:1 in torch.float32 with triton.',
    ]


def test_cache_of_choices_is_bounded(tested):
    for height in range(1, 300):
        choose('auto', feats_on('cpu', shape=(16, 128, height, 14)))
    assert backends._choose.cache_info().currsize <= 128


def test_torch_by_name_skips_the_test(tested):
    assert choose('torch', feats_on('cuda:0')) is torch_backend
    assert not tested


@pytest.mark.parametrize(
    ('errors', 'message'),
    [
        ({**PASSING, 'gradient': 0.5}, 'compute wrong results .* gradient 5.0e-01'),
        ({**PASSING, 'values': float('nan')}, 'compute wrong results .* values nan'),
        (OSError('no such chip'), 'fail on cuda:1: OSError: no such chip'),
    ],
)
def test_failing_kernels_are_not_used(
    monkeypatch, triton_backend, caplog, errors, message
):
    def self_test(device, dtype):
        if isinstance(errors, Exception):
            raise errors
        return errors

    monkeypatch.setattr(backends, 'self_test', self_test)
    for _ in range(2):
        assert choose('auto', feats_on(CUDA)) is torch_backend
    (record,) = caplog.records
    assert record.levelname == 'WARNING'
    assert 'torch, not the faster triton' in record.message
    with pytest.raises(RuntimeError, match=message):
        choose('triton', feats_on(CUDA))


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (dict(dtype=torch.float64), 'torch.float64, which the kernels do not support'),
        (dict(shape=(513, 14, 14)), '513 channels exceed 512, the maximum'),
        (dict(window=(3, 19)), 'a window of 19 columns exceeds 17'),
        (dict(shape=(8, 3000, 3000)), '3645000000 values per frame'),
        (dict(device=torch.device('cpu')), 'on cpu, and Triton needs a CUDA device'),
    ],
)
def test_reasons(tested, changed, message):
    kwargs = dict(
        device=CUDA,
        dtype=torch.float16,
        shape=(128, 14, 14),
        num_offsets=5,
        window=(9, 9),
    )
    assert reasons_against_triton(**kwargs) == []
    (reason,) = reasons_against_triton(**{**kwargs, **changed})
    assert message in reason
    assert len(tested) == 1


def test_error_lists_all_reasons(monkeypatch):
    def fail(*args):
        raise ImportError('no such module')

    monkeypatch.setattr(backends, 'import_module', fail)
    feats = torch.zeros(3, 600, 2, 2, dtype=torch.float64)
    with pytest.raises(RuntimeError) as error:
        self_similarity(feats, (0,), (3, 19), 3, backend='triton')
    for reason in (
        'Triton cannot be imported (ImportError: no such module)',
        'TRITON_INTERPRET=1',
        'torch.float64',
        '19 columns',
    ):
        assert reason in str(error.value)


def test_self_test_detects_wrong_kernels(monkeypatch, triton_backend):
    cpu = torch.device('cpu')
    errors = self_test(cpu, torch.float32)
    assert set(errors) == {
        'cosine: values',
        'cosine: gradient',
        'dot: values',
        'dot: gradient',
        'dot: gradient of the keys',
    }
    assert all(error < 1e-5 for error in errors.values())
    # Mirror the keys left to right, and drop the gradient of the keys.
    triton_backend.forward = lambda *args: torch_backend.forward(*args).flip(-1)

    def backward(*args):
        grad, grad_keys = torch_backend.backward(*args)
        return grad, None if grad_keys is None else 0 * grad_keys

    triton_backend.backward = backward
    wrong = {k for k, v in self_test(cpu, torch.float32).items() if not v < 1e-5}
    assert wrong == {'cosine: values', 'dot: values', 'dot: gradient of the keys'}


def run_python(code):
    return subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True
    )


def test_kernels_are_imported_lazily():
    done = run_python(
        'import sys, torch\n'
        'from selfy_mmaction.ops import self_similarity\n'
        'self_similarity(torch.zeros(2, 3, 4, 4), (0,), (3, 3), 2)\n'
        "assert 'selfy_mmaction.ops.backends.triton_backend' not in sys.modules\n"
    )
    assert done.returncode == 0, done.stderr


def test_without_triton():
    done = run_python(
        'import sys\n'
        "sys.modules['triton'] = None\n"
        'import torch\n'
        'from selfy_mmaction.ops import self_similarity\n'
        'feats = torch.ones(2, 3, 4, 4, requires_grad=True)\n'
        'self_similarity(feats, (0,), (3, 3), 2).sum().backward()\n'
        'assert feats.grad is not None\n'
        "self_similarity(feats, (0,), (3, 3), 2, backend='triton')\n"
    )
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert error.startswith("RuntimeError: backend='triton' cannot compute this")
    assert 'Triton cannot be imported (ModuleNotFoundError' in error
