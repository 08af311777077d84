# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Minimal training with mmengine's runner that uses every source of randomness."""

import contextlib
import os
import random
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset

CHECKPOINTS = dict(
    type='CheckpointHook',
    interval=1,
    max_keep_ckpts=1,
    save_best='batches',
    rule='greater',
)


class Noise(Dataset):
    """Dataset of eight rows with noise from each generator that pipelines use."""

    metainfo = {}

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        noise = [random.random(), np.random.rand(), torch.rand(()).item()]
        return dict(rows=torch.tensor([index / 8, *noise]))


class Regression(BaseModel):
    """Model of one layer with dropout and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(4)
        self.fc = torch.nn.Linear(4, 1)

    def forward(self, rows: list[torch.Tensor], mode: str) -> dict | list:
        rows = torch.nn.functional.dropout(torch.stack(rows), training=self.training)
        loss = (self.fc(self.norm(rows)) - 1).square().mean()
        return dict(loss=loss) if mode == 'loss' else [self.norm.num_batches_tracked]


class Batches(BaseMetric):
    """Metric that counts training batches, so that each epoch is the best one."""

    def process(self, data_batch: list, data_samples: list) -> None:
        """Store the counts."""
        self.results += [sample.item() for sample in data_samples]

    def compute_metrics(self, results: list) -> dict:
        """Return the mean of the counts, which are all equal."""
        return dict(batches=float(np.mean(results)))


def make_runner(work_dir: Path, max_epochs: int = 3, **options) -> Runner:
    """Create a runner; ``options`` replace its default arguments."""
    loader = dict(
        dataset=Noise(),
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='pseudo_collate'),
    )
    arguments = dict(
        model=Regression(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        val_dataloader=dict(loader),
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs, val_interval=1),
        val_cfg=dict(),
        val_evaluator=dict(type=Batches),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        param_scheduler=[dict(type='MultiStepLR', milestones=[2])],
        default_hooks=dict(checkpoint=dict(CHECKPOINTS)),
        custom_hooks=[
            dict(type='ScheduleCheckHook'),
            dict(type='WorkDirLockHook'),
            dict(type='ExactResumeHook'),
        ],
        randomness=dict(seed=1),
        default_scope='mmaction',
        # mmengine requires a unique name per runner in a process.
        experiment_name=f'tiny_{random.SystemRandom().getrandbits(64)}',
        cfg=Config(dict(work_dir=str(work_dir))),
    )
    return Runner(**{**arguments, **options})


def in_child(function: Callable, *args, **kwargs) -> int:
    """Call a function in a fork of this process, which must not have trained before.

    Returns:
        The exit status, or the negative number of the signal that ended the fork.
    """
    pid = os.fork()
    if pid == 0:
        os.setsid()
        try:
            function(*args, **kwargs)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    # A data loader worker that was starting when its parent was killed waits forever,
    # and keeps stdout open.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


def kill_myself() -> None:
    """End this process like ``kill -9``."""
    os.kill(os.getpid(), signal.SIGKILL)


def comparable(value: object) -> object:
    """Convert tensors in nested data to bytes, so that == compares them bit for bit."""
    if isinstance(value, torch.Tensor):
        return value.dtype, value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [comparable(each) for each in value]
    return value


def files_of(work_dir: Path) -> dict[str, object]:
    """Read all checkpoints: weights, optimizer, schedulers and best score."""
    files = {}
    for path in work_dir.glob('*.pth'):
        checkpoint = torch.load(path)
        runtime = checkpoint['message_hub']['runtime_info']
        files[path.name] = comparable(
            [
                checkpoint['state_dict'],
                checkpoint.get('optimizer'),
                checkpoint.get('param_schedulers'),
                runtime.get('best_score'),
                Path(runtime.get('best_ckpt', '')).name,
            ]
        )
    files['last_checkpoint'] = Path((work_dir / 'last_checkpoint').read_text()).name
    return files
