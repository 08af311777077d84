# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Show the symptom, apply the workaround and wrap models; run by torchrun.

Writes a report to rank0.txt and rank1.txt in the folder given as argument.
"""

import atexit
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import bare_package  # noqa: F401
import torch
from mmengine.dist import get_backend, init_dist
from mmengine.model.wrappers import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from selfy_mmaction.compat import apply_workaround


class Fit(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.ones_(self.fc.weight)

    def data_preprocessor(self, data, training):
        return data

    def forward(self, inputs, mode):
        return {'loss': self.fc(inputs).sum()}

    def parse_losses(self, losses):
        return losses['loss'], losses


def error_of(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except (AttributeError, RuntimeError, ValueError) as error:
        return str(error)
    return 'none'


def report(line):
    with report_file.open('a') as file:
        file.write(f'{line}\n')


def report_group():
    names = [path.read_text() for path in Path('/proc/self/task').glob('*/comm')]
    report(f'in group at exit: {torch.distributed.is_initialized()}')
    report(f'threads of gloo at exit: {sum("gloo" in name for name in names)}')


rank = int(os.environ['RANK'])
report_file = Path(sys.argv[1], f'rank{rank}.txt')
atexit.register(report_group)  # registered first, so it runs last
report(f'before: init: {error_of(init_dist, "pytorch")}')
assert apply_workaround('cpu_distributed')
init_dist('pytorch', backend='nccl', timeout=60)
assert get_backend() == 'gloo'

for wrapper_cfg in (None, {'find_unused_parameters': True}):
    runner = SimpleNamespace(distributed=True, cfg={})
    model = Runner.wrap_model(runner, wrapper_cfg, Fit())
    assert type(model) is MMDistributedDataParallel
    assert model.find_unused_parameters is (wrapper_cfg is not None)
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    # The gradients are 1 and 3: each process steps with their mean.
    model.train_step({'inputs': torch.tensor([[1.0 + 2 * rank]])}, optimizer)
    assert abs(model.module.fc.weight.item() - 0.8) < 1e-6

from selfy_mmaction.compat import cpu_distributed  # noqa: E402

MMDistributedDataParallel.__init__ = cpu_distributed._host_init_wrapper
report(f'before: wrap: {error_of(Runner.wrap_model, runner, None, Fit())}')
