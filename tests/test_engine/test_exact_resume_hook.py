# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from tiny_training import make_runner


@pytest.fixture(scope='module')
def kills(tmp_path_factory):
    done = subprocess.run(
        [
            sys.executable,
            str(Path(__file__).with_name('kill_trainings.py')),
            str(tmp_path_factory.mktemp('kills')),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_files_of_an_uninterrupted_training(kills):
    # The second epoch is the best one, so the first was replaced.
    assert kills[0] == ['best_batches_epoch_2.pth', 'epoch_2.pth', 'last_checkpoint']


@pytest.mark.parametrize('where', ['iteration', 'validation', 'writing'])
def test_killed_training_resumes_to_the_same_files(where, kills):
    found = [kill for kill in kills[1] if kill[0].startswith(where)]
    # Each of two checkpoints is written twice, with last_checkpoint and the best one.
    assert len(found) >= dict(iteration=2, validation=2, writing=20)[where]
    for name, killed, resumed, differing in found:
        assert (killed, resumed, differing) == (-9, 0, []), name


def test_random_seed_is_restored(tmp_path):
    make_runner(tmp_path, max_epochs=1, randomness=dict(seed=None)).train()
    meta = torch.load(tmp_path / 'epoch_1.pth')['meta']
    seeds = []

    class Keep(Hook):
        def before_train_epoch(self, runner):
            seeds.extend([runner.seed, runner.train_dataloader.sampler.seed])

    resumed = make_runner(
        tmp_path, max_epochs=2, randomness=dict(seed=None), resume=True
    )
    assert resumed.seed != meta['seed']
    resumed.register_hook(Keep())
    resumed.train()
    # mmengine restores only the first; the second determines the order of the data.
    assert seeds == [meta['seed'], meta['seed']]


def test_random_numbers_differ_between_epochs_and_workers(tmp_path):
    runner = make_runner(tmp_path)
    runner._train_dataloader.update(num_workers=2, persistent_workers=True)
    seen = []

    class Keep(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            seen.extend(row[1:] for row in data_batch['rows'])

    runner.register_hook(Keep())
    runner.train()
    noise = torch.stack(seen)
    assert noise.shape == (24, 3)
    for generator in noise.T:
        assert len(generator.unique()) == 24
