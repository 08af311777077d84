# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.dist import utils as dist_utils
from mmengine.model.wrappers import MMDistributedDataParallel

from selfy_mmaction.compat import cpu_distributed
from selfy_mmaction.compat.cpu_distributed import apply_cpu_distributed


def test_two_processes(tmp_path):
    script = Path(__file__).with_name('train_on_two_cpus.py')
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'torch.distributed.run'),
            *('--standalone', '--nproc_per_node=2', script, tmp_path),
        ],
        # Hide GPUs if the machine has any.
        env={**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=120,
    )
    reports = [path.read_text() for path in sorted(tmp_path.glob('rank*.txt'))]
    assert done.returncode == 0, (reports, done.stdout, done.stderr)
    output = done.stdout + done.stderr
    assert output.count("distributed backend 'gloo' instead of 'nccl'") == 1
    assert len(reports) == 2
    for report in reports:
        init, wrap, group, threads = report.splitlines()
        # The errors of a CPU build of torch, and of a GPU build without GPU or driver.
        error = "no attribute '_cuda_setDevice'|No CUDA GPUs|Found no NVIDIA driver"
        assert re.match(f'before: init: .*({error})', init)
        assert wrap.startswith('before: wrap: DistributedDataParallel device_ids')
        assert group == 'in group at exit: False'
        # A remaining thread could abort the process after the interpreter has ended.
        assert threads == 'threads of gloo at exit: 0'


@pytest.fixture
def initialized(monkeypatch):
    """Arguments that the process group would be created with."""
    calls = []
    monkeypatch.setattr(
        'torch.distributed.init_process_group', lambda **kwargs: calls.append(kwargs)
    )
    return calls


def test_other_backends_are_kept(initialized):
    cpu_distributed._init_dist_on_cpu('mpi', timeout=3)
    assert initialized == [{'backend': 'mpi', 'timeout': 3}]


def test_other_init_backends_are_left_to_mmengine(initialized, monkeypatch):
    calls = []
    monkeypatch.setattr(
        cpu_distributed,
        '_host_init_dist',
        lambda backend, init_backend: calls.append((backend, init_backend)),
    )
    cpu_distributed._init_dist_on_cpu('nccl', init_backend='deepspeed')
    assert calls == [('nccl', 'deepspeed')]
    assert initialized == []


@pytest.mark.parametrize('device', ['cuda', 'npu', 'mps'])
def test_not_applied_with_an_accelerator(device, monkeypatch):
    host_init, host_wrapper = object(), MMDistributedDataParallel.__init__
    monkeypatch.setattr(dist_utils, '_init_dist_pytorch', host_init)
    monkeypatch.setattr(cpu_distributed, 'get_device', lambda: device)
    assert apply_cpu_distributed() is False
    assert dist_utils._init_dist_pytorch is host_init
    assert MMDistributedDataParallel.__init__ is host_wrapper
