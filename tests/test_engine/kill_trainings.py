# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Kill tiny trainings, resume them, and compare with an uninterrupted training.

Prints JSON on the last line: per training its name, the exit codes when killed and
resumed, and the files that differ. Runs in its own process, because forking one that
has already trained may hang.
"""

import json
import os
import pathlib
import sys
import warnings
from pathlib import Path

# Otherwise imported on first use; import them once for all forks.
import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401
import torch._dynamo  # noqa: F401
from mmengine.hooks import Hook
from mmengine.runner import Runner

import selfy_mmaction  # noqa: F401

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_training import files_of, in_child, kill_myself, make_runner

warnings.simplefilter('ignore')
# Skipped because it is slow: it runs compilers to get their versions.
Runner._log_env = lambda self, env_cfg: None


class KillAfterIterations(Hook):
    """Kill the process during an epoch."""

    def __init__(self, iterations):
        self.iterations = iterations

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iterations:
            kill_myself()


class KillInValidation(Hook):
    """Kill the process during the validation of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.epoch == self.epoch:
            kill_myself()


class KillInWriting(Hook):
    """Kill the process just before a file is flushed, renamed or removed."""

    def __init__(self, step):
        self.step = step

    def before_train(self, runner):
        for place, name in (
            (os, 'fsync'),
            (os, 'replace'),
            (os, 'remove'),
            (pathlib.Path, 'unlink'),
        ):
            setattr(place, name, self.counted(getattr(place, name)))

    def counted(self, function):
        def call(*args, **kwargs):
            self.step -= 1
            if self.step == 0:
                kill_myself()
            return function(*args, **kwargs)

        return call


def train(work_dir, hook=None, workers=0, resume=False):
    runner = make_runner(work_dir, max_epochs=2, resume=resume)
    runner._train_dataloader.update(num_workers=workers, persistent_workers=workers > 0)
    if hook is not None:
        runner.register_hook(hook)
    runner.train()


def kill_and_resume(name, hook, workers=0):
    work_dir = root / name
    killed = in_child(train, work_dir, hook, workers)
    resumed = in_child(train, work_dir, None, workers, resume=killed != 0)
    files = files_of(work_dir)
    expected = whole[workers]
    differing = [
        name for name in {*files, *expected} if files.get(name) != expected.get(name)
    ]
    differing += [path.name for path in work_dir.glob('.*.partial')]
    report.append([name, killed, resumed, differing])
    return killed


root = Path(sys.argv[1])
report, whole = [], {}
for workers in (0, 2):
    assert in_child(train, root / f'whole_{workers}', workers=workers) == 0
    whole[workers] = files_of(root / f'whole_{workers}')
    kill_and_resume(f'iteration, {workers} workers', KillAfterIterations(3), workers)
for epoch in (1, 2):
    kill_and_resume(f'validation {epoch}', KillInValidation(epoch))
step = 1
while kill_and_resume(f'writing {step}', KillInWriting(step)) != 0:
    step += 1
report.pop()
print(json.dumps([sorted(whole[0]), report]))
