# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The Triton kernels, interpreted on the CPU, are compared with the loops of Eq. 1.

They are also compiled for a GPU, and run on it if there is one.
"""

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from interpret_triton import compute
from test_self_similarity import CASES
from torch._subclasses.fake_tensor import FakeTensorMode

from selfy_mmaction.ops import self_similarity_loops

triton = pytest.importorskip('triton', reason='Triton is available only for Linux')
from selfy_mmaction.ops.backends import triton_backend  # noqa: E402  needs Triton

# Several tiles in both directions, columns outside the frame that share a slot with
# columns inside, several blocks of channels.
TILES = {
    'tiles': (1, 2, 5, 6, 18, (0, -1), (3, 5)),
    'widest window': (1, 1, 3, 2, 30, (0,), (1, 17)),
    'row as wide as a tile': (1, 1, 3, 2, 16, (0,), (1, 9)),
    'blocks of channels': (1, 2, 70, 2, 3, (1,), (3, 3)),
    'many channels': (1, 2, 300, 2, 3, (1,), (3, 3)),
}
FAR_APART = (2, 2, 3, 2, 3, (0, 1), (3, 3))
TOLERANCES = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 1e-2}
FORMS = {
    'cosine': ('cosine', False, 'contiguous'),
    'cosine with keys': ('cosine', True, 'channels last'),
    'dot': ('dot', False, 'channels last'),
    'dot with keys': ('dot', True, 'strided'),
}
NAMES = [
    *(
        (name, form, torch.float32)
        for name in CASES
        for form in FORMS
        if form in ('cosine', 'dot with keys') or name in ('plain', 'any set')
    ),
    *(
        (name, form, dtype)
        for dtype in (torch.float16, torch.bfloat16)
        for name in ('any set', 'window beyond the frame')
        for form in ('cosine', 'dot with keys')
    ),
    *((name, 'cosine', torch.float32) for name in TILES if name != 'many channels'),
    ('tiles', 'dot with keys', torch.float16),
    ('many channels', 'cosine', torch.float16),
]


def lay_out(x, layout):
    if layout == 'channels last':
        return x.contiguous(memory_format=torch.channels_last)
    if layout == 'strided':
        return torch.stack([x, x + 1], -1)[..., 0]
    return x


def make_request(name, form, dtype):
    """Return (features, keys), the gradient of the STSS tensor and other arguments."""
    clips, num_segments, channels, height, width, offsets, window = {**CASES, **TILES}[
        name
    ]
    similarity, with_keys, layout = FORMS[form]
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator).to(dtype)

    shape = (clips * num_segments, channels, height, width)
    feats = lay_out(draw(*shape), layout)
    keys = lay_out(draw(*shape), 'channels last') if with_keys else None
    shape = (clips, num_segments, height, width, len(offsets), *window)
    if form == 'cosine':
        cotangent = draw(*shape)
    elif with_keys:  # as a permuting layer leaves it
        cotangent = draw(*reversed(shape)).permute(*range(6, -1, -1))
    else:  # as a mean over the offsets leaves it
        cotangent = draw(*shape[:4], 1, *window).expand(shape)
    # The smallest allowed: without it, norms outside the frame have no inverse.
    eps = 1.2e-38 if form == 'cosine with keys' else 1e-6
    return (feats, keys), cotangent, (offsets, window, num_segments, eps, similarity)


def compute_by_loops(inputs, cotangent, args):
    inputs = [x if x is None else x.double().requires_grad_() for x in inputs]
    stss = self_similarity_loops(inputs[0], *args, inputs[1])
    leaves = [x for x in inputs if x is not None]
    grads = torch.autograd.grad(
        stss, leaves, cotangent.double(), materialize_grads=True
    )
    return stss.detach(), grads


def make_far_apart():
    clips, num_segments, channels, height, width, offsets, window = FAR_APART
    feats = torch.randn(clips * num_segments, channels, height, width)
    cotangent = torch.randn(clips, num_segments, height, width, len(offsets), *window)
    args = (offsets, window, num_segments, 1e-6, 'cosine')
    return (feats.half(), None), cotangent.half(), args


def make_overflow():
    (feats, _), cotangent, args = make_request('plain', 'cosine', torch.float32)
    feats[4, :, 2, 1] = 1e20
    return (feats, None), cotangent, args


@pytest.fixture(scope='module')
def interpreted(tmp_path_factory):
    """All requests and the kernels' results, computed in a separate process."""
    requests = {name: (False, *make_request(*name)) for name in NAMES}
    requests['far apart'] = (True, *make_far_apart())
    requests['overflow'] = (False, *make_overflow())
    folder = tmp_path_factory.mktemp('triton')
    torch.save({str(k): v for k, v in requests.items()}, folder / 'requests.pt')
    done = subprocess.run(
        [
            sys.executable,
            Path(__file__).with_name('interpret_triton.py'),
            *(folder / 'requests.pt', folder / 'results.pt'),
        ],
        env={**os.environ, 'TRITON_INTERPRET': '1', 'CUDA_VISIBLE_DEVICES': ''},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results = torch.load(folder / 'results.pt')
    return {k: (v[1:], results[str(k)]) for k, v in requests.items()}


def check(request, result, dtype):
    stss, grads = result
    assert stss.dtype == dtype
    expected_stss, expected_grads = compute_by_loops(*request)
    tolerance = dict(rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])
    torch.testing.assert_close(stss.double(), expected_stss, **tolerance)
    assert len(grads) == len(expected_grads)
    for grad, expected in zip(grads, expected_grads, strict=True):
        assert grad.dtype == dtype
        assert grad.is_contiguous()
        torch.testing.assert_close(grad.double(), expected, **tolerance)


@pytest.mark.parametrize(('name', 'form', 'dtype'), NAMES)
def test_values_and_gradients(interpreted, name, form, dtype):
    check(*interpreted[name, form, dtype], dtype)


def test_frames_more_than_2_31_elements_apart(interpreted):
    check(*interpreted['far apart'], torch.float16)


def test_overflowing_squares_result_in_nan(interpreted):
    ((feats, _), _, _), (stss, (grad,)) = interpreted['overflow']
    clips, num_segments, channels, height, width, offsets, window = CASES['plain']
    # Frame 4 is in the second clip (frames 3 to 5); the first clip has no overflow.
    wrong = stss.isnan()
    assert not wrong[0].any()
    assert wrong[1, 1, 2, 1].sum() == len(offsets) * 9
    assert wrong[1, 1].any((-3, -2, -1)).sum() == 9
    assert grad[4, :, 2, 1].isnan().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_values_and_gradients_on_every_gpu():
    for index in range(torch.cuda.device_count()):
        for name in NAMES:
            request = make_request(*name)
            (feats, keys), cotangent, args = request
            device = f'cuda:{index}'
            inputs = [x if x is None else x.detach().to(device) for x in (feats, keys)]
            stss, grads = compute(inputs, cotangent.to(device), args)
            check(request, (stss.cpu(), [grad.cpu() for grad in grads]), name[-1])


class Recorder:
    """Stand-in for a kernel and for the device guard that it runs under."""

    def __init__(self):
        self.current = None
        self.launched_on = []

    def __getitem__(self, grid):
        return lambda *args, **kwargs: self.launched_on.append(self.current)

    @contextmanager
    def guard(self, tensor):
        self.current = tensor.device
        yield
        self.current = None


@pytest.mark.parametrize('device', ['cuda:0', 'cuda:1', 'cuda:7'])
def test_runs_on_the_device_of_the_features(monkeypatch, device):
    recorder = Recorder()
    monkeypatch.setattr(triton_backend, 'forward_kernel', recorder)
    monkeypatch.setattr(triton_backend, 'backward_kernel', recorder)
    monkeypatch.setattr(torch.cuda, 'device_of', recorder.guard)
    with FakeTensorMode():
        feats, keys = torch.empty(2, 4, 4, 5, 6, device=device)
        for args in ((feats, None), (feats, keys)):
            args = (*args, (0, 1), (3, 3), 2, 1e-6, 'cosine')
            stss = triton_backend.forward(*args)
            grads = triton_backend.backward(stss, *args)
            assert stss.device == grads[0].device == torch.device(device)
    assert recorder.launched_on == [torch.device(device)] * 5


class H200:
    """Driver stand-in that lets Triton compile without a GPU."""

    def get_current_target(self):
        return triton.backends.compiler.GPUTarget('cuda', 90, 32)

    def get_current_device(self):
        return 'H200'  # key of the kernel cache

    def get_current_stream(self, device):
        return 0


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """Launched kernels, which are only compiled here."""
    if triton_backend.is_interpreted():
        pytest.skip('TRITON_INTERPRET=1 interprets kernels instead of compiling them')
    monkeypatch.setattr(triton.runtime.driver, '_active', H200())
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    kernels = []

    def compile_only(kernel, *args, warmup, **kwargs):
        kernels.append(run(kernel, *args, warmup=True, **kwargs))

    run = triton.runtime.JITFunction.run
    monkeypatch.setattr(triton.runtime.JITFunction, 'run', compile_only)
    return kernels


def bytes_of_stack(kernel, folder):
    """Return how many bytes a kernel spills because it runs out of registers."""
    (folder / 'kernel.cubin').write_bytes(kernel.asm['cubin'])
    usage = subprocess.run(
        [
            triton.knobs.nvidia.cuobjdump.path,
            *('-res-usage', folder / 'kernel.cubin'),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(re.search(r'STACK:(\d+)', usage.stdout)[1])


@pytest.mark.parametrize('dtype', TOLERANCES)
@pytest.mark.parametrize('channels', [pytest.param(128, marks=pytest.mark.slow), 256])
def test_compiles_for_a_gpu(compiled, tmp_path, dtype, channels):
    feats = torch.empty(8, channels, 14, 14, dtype=dtype)
    args = (feats, None, (-2, -1, 0, 1, 2), (9, 9), 8, 1e-6, 'cosine')
    triton_backend.backward(triton_backend.forward(*args), *args)
    assert len(compiled) == 2
    for kernel in compiled:
        # Consumer GPUs have that much shared memory as well.
        assert bytes_of_stack(kernel, tmp_path) == 0
        assert kernel.metadata.shared <= 99 * 1024
        ptx = kernel.asm['ptx']
        if dtype == torch.float32:
            assert 'tf32' not in ptx
        else:
            assert re.search(r'wgmma|mma\.sync', ptx)
