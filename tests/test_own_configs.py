# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The configs for own videos, with mmaction2's unmodified tools on a made-up folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from config_files import CONFIGS, LEAVES, read
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

from selfy_mmaction.run import tools_folder

OWN = [name for name in LEAVES if name.startswith('own/')]
BASES = ('_base_/datasets/own_videos.py', '_base_/datasets/own_videos_112.py')
SLIM = CONFIGS / 'own' / 'selfy-tsn-r18-slim_1xb8-1x1x8-20e_own-rgb.py'
NAMES = ['moving left', 'moving right', 'größer', '4']


@pytest.fixture(scope='module')
def folder(motion_tiny, tmp_path_factory) -> Path:
    """A prepared folder, with the clips of the motion benchmark."""
    folder = tmp_path_factory.mktemp('own videos')
    (folder / 'videos').symlink_to(motion_tiny / 'videos')
    for split, source in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        text = (motion_tiny / f'{source}.txt').read_text()
        (folder / f'{split}.txt').write_text(re.sub(r' (\d+)\n', r'\t\1\n', text))
    (folder / 'classes.txt').write_text('\n'.join(NAMES), encoding='utf-8')
    return folder


def run(tool, folder, *args, options=(), ok=True) -> str:
    env = dict(SELFY_DATA=str(folder), SELFY_SIZE='32', SELFY_FRAMES='4')
    options = ['--cfg-options', 'model.backbone.pretrained=None', *options]
    command = (sys.executable, tools_folder() / tool, *args, *options)
    result = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, 'OMP_NUM_THREADS': '1', **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert (result.returncode == 0) == ok, result.stdout[-3000:]
    return result.stdout


SHORT = ['train_cfg.max_epochs=2', 'train_dataloader.batch_size=5']
SHORT += ['train_dataloader.num_workers=0', 'val_dataloader.num_workers=1']


@pytest.fixture(scope='module')
def work_dir(folder, tmp_path_factory) -> Path:
    """A training of two epochs with options that users change."""
    work_dir = tmp_path_factory.mktemp('work_dir')
    options = [*SHORT, 'train_dataloader.sampler.type=BalancedSampler']
    args = ('train.py', folder, SLIM, '--work-dir', work_dir, '--auto-scale-lr')
    (work_dir / 'output.txt').write_text(run(*args, options=options))
    return work_dir


def test_train(work_dir):
    output = (work_dir / 'output.txt').read_text()
    assert 'Scaling the original LR by 0.625.' in output  # 5 / 8 clips
    assert 'BalancedSampler draws 6.0 clips per class' in output
    # A line per epoch, although interval=20 is longer than an epoch of 24 / 5 batches.
    lines = re.findall(r'Epoch\(train\) \[(\d)\]\[5/5\] +lr: (\S+)', output)
    assert [epoch for epoch, _ in lines] == ['1', '2']
    # Half a cosine at the end of the warm-up, and about 0 at the end.
    rates = [float(rate) for _, rate in lines]
    assert rates[0] == pytest.approx(2e-3 * 0.625 * 0.65, rel=0.05)
    assert rates[1] < 0.05 * rates[0]
    meta = torch.load(work_dir / 'epoch_2.pth', weights_only=False)['meta']
    assert meta['dataset_meta'] == dict(classes=tuple(NAMES))
    dumped = Config.fromfile(work_dir / SLIM.name)
    assert dumped.model.backbone.num_segments == dumped.num_frames == 4


@pytest.mark.slow
def test_test_resume_and_fine_tune(work_dir, folder, tmp_path):
    checkpoint = work_dir / 'epoch_2.pth'
    # Elsewhere, without the class file of the training, by the number of classes.
    options = ['model.cls_head.num_classes=4']
    output = run('test.py', folder, SLIM, checkpoint, options=options)
    assert 'acc/mean1' in output

    other = tmp_path / 'other'
    other.mkdir()
    for path in folder.iterdir():
        (other / path.name).symlink_to(path)
    (other / 'classes.txt').unlink()
    (other / 'classes.txt').write_text('\n'.join(NAMES[::-1]), encoding='utf-8')
    output = run('test.py', other, SLIM, checkpoint, ok=False)
    assert "differ: label 0 is '4' here and 'moving left' there" in output

    (other / 'classes.txt').write_text('\n'.join([*NAMES, 'none']), encoding='utf-8')
    options = [f'load_from={checkpoint}', 'train_cfg.max_epochs=1']
    args = ('train.py', other, SLIM, '--work-dir', tmp_path / 'tuned')
    output = run(*args, options=options)
    assert 'no clip of 1 of the 5 classes in ' in output
    assert 'cls_head.fc_cls.weight is (4, 64) in the checkpoint and (5, 64)' in output
    assert 'epoch_1.pth' in (tmp_path / 'tuned' / 'last_checkpoint').read_text()


@pytest.mark.parametrize('name', OWN)
def test_environment_reaches_every_place(name, monkeypatch):
    monkeypatch.setenv('SELFY_DATA', 'my/data')
    monkeypatch.setenv('SELFY_FRAMES', '16')
    monkeypatch.setenv('SELFY_SIZE', '160')
    monkeypatch.setenv('SELFY_DECODER', 'PyAV')
    config = Config.fromfile(CONFIGS / name)
    assert config.model.backbone.num_segments == 16
    assert config.model.cls_head.num_segments == 16
    assert config.model.cls_head.class_file == 'my/data/classes.txt'
    for split in ('train', 'val', 'test'):
        dataset = config[f'{split}_dataloader'].dataset
        assert dataset.ann_file == f'my/data/{split}.txt'
        assert dataset.data_prefix == dict(video='my/data/videos')
        assert dataset.class_file == 'my/data/classes.txt'
        steps = {step.type: step for step in dataset.pipeline}
        assert list(steps)[:3] == ['PyAVInit', 'SampleFrames', 'PyAVDecode']
        assert steps['SampleFrames'].num_clips == 16
        if split == 'train':
            assert steps['Resize'].scale == (160, 160)
            assert steps['SelectiveFlip'].class_names == 'my/data/classes.txt'
        else:
            assert steps['Resize'].scale == (-1, 182)
            assert steps['CenterCrop'].crop_size == 160
    assert config.test_pipeline == config.test_dataloader.dataset.pipeline


def test_the_two_datasets_differ_in_the_size_only():
    texts = [(CONFIGS / base).read_text() for base in BASES]
    bodies = [text[text.index('data_root =') :] for text in texts]
    assert bodies[0].replace('SELFY_SIZE:224', 'SELFY_SIZE:112') == bodies[1]


@pytest.mark.parametrize('epochs', [1, 3, 20])
def test_schedule_lasts_as_long_as_the_training(epochs, tmp_path):
    config = read('_base_/schedules/adamw_20e_own.py')
    model = torch.nn.Linear(1, 1)
    runner = Runner(
        model=model,
        work_dir=str(tmp_path),
        train_dataloader=dict(
            batch_size=1,
            dataset=range(10),
            sampler=dict(type='DefaultSampler'),
            num_workers=0,
        ),
        train_cfg=dict(config.train_cfg, max_epochs=epochs),
        optim_wrapper=config.optim_wrapper,
        param_scheduler=config.param_scheduler,
        default_scope='mmaction',
        experiment_name=f'{tmp_path.name}_{epochs}',
        log_level='ERROR',
    )
    runner.train_loop  # noqa: B018  builds it
    runner.optim_wrapper = build_optim_wrapper(model, config.optim_wrapper)
    schedulers = runner.build_param_scheduler(config.param_scheduler)
    (group,) = runner.optim_wrapper.param_groups
    rates = []
    for _ in range(10 * epochs):
        rates.append(group['lr'])
        for scheduler in schedulers:
            scheduler.step()
    assert rates[0] == pytest.approx(3e-5)
    assert max(rates) <= 3e-4
    assert rates[-1] < 1e-5
    if epochs == 20:
        assert rates[100] == pytest.approx(1.5e-4, rel=0.02)  # half of the cosine
        assert rates[10] == pytest.approx(3e-4, rel=0.02)
