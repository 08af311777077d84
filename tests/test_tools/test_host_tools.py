# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The unmodified tools of the installed mmaction2 on the motion benchmark.

Every tool in the README runs on one tiny network, in a separate process.
"""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import mmengine
import numpy as np
import pytest
from mmaction.apis import inference_recognizer, init_recognizer

from selfy_mmaction.run import tools_folder

CONFIGS = Path(__file__).parents[2] / 'configs'
CONFIG = """
_base_ = '{configs}/motion/selfy-tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'

train_cfg = dict(max_epochs=1)
param_scheduler = []
model = dict(cls_head=dict(num_classes=4))
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        ann_file='{data}/train.txt',
        data_prefix=dict(video='{data}/videos'),
        num_classes=4))
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        ann_file='{folder}/val.txt',
        data_prefix=dict(video='{data}/videos'),
        num_classes=4))
test_dataloader = val_dataloader
"""


def run(*command, ok=True, **env) -> str:
    """Run a command in the environment of this interpreter; return its output."""
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    result = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, 'PATH': path, 'OMP_NUM_THREADS': '1', **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert (result.returncode == 0) == ok, result.stdout[-3000:]
    assert not unexpected_warnings(result.stdout)
    return result.stdout


def unexpected_warnings(output: str) -> list[str]:
    """Return the lines of warnings that a user could not explain."""
    expected = (
        'Unsupported operator aten::',  # get_flops.py counts no additions
        'The following submodules of the model were never called',
        'torch.distributed.launch is deprecated',  # in dist_train.sh
        'Setting OMP_NUM_THREADS',
        'Setting MKL_NUM_THREADS',
        'using the distributed backend',
        'but the highest label in',  # ours
        '-Wno-deprecated',  # how torch was built
    )
    return [
        line
        for line in output.splitlines()
        if re.search('warning|deprecated', line, re.IGNORECASE)
        and 'warnings.warn' not in line
        and not any(part in line for part in expected)
    ]


def run_tool(name, *args, **kwargs) -> str:
    return run(sys.executable, tools_folder() / name, *args, **kwargs)


def run_two_processes(name, *args) -> str:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    return run('bash', tools_folder() / name, *args, PORT=port)


def accuracy(output: str) -> float:
    """Parse the last top-1 accuracy in a log."""
    return float(re.findall(r'acc/top1: (\S+)', output)[-1])


@pytest.fixture(scope='module')
def config(motion_tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('tools')
    # An odd number, which two processes cannot split evenly.
    lines = (motion_tiny / 'val.txt').read_text().splitlines()[:15]
    (folder / 'val.txt').write_text('\n'.join(lines))
    path = folder / 'tiny.py'
    path.write_text(CONFIG.format(configs=CONFIGS, data=motion_tiny, folder=folder))
    return path


@pytest.fixture(scope='module')
def checkpoint(config) -> Path:
    """Train for one epoch with train.py, then resume for another."""
    work_dir = config.parent / 'train'
    args = (config, '--work-dir', work_dir, '--seed', '0')
    output = run_tool('train.py', *args)
    assert 'Epoch(train) [1][6/6]' in output
    assert 'acc/top1' in output
    output = run_tool(
        'train.py', *args, '--resume', '--cfg-options', 'train_cfg.max_epochs=2'
    )
    assert 'resumed epoch: 1, iter: 6' in output
    assert 'Epoch(train) [1]' not in output
    assert 'Epoch(train) [2][6/6]' in output
    return work_dir / 'epoch_2.pth'


@pytest.fixture(scope='module')
def dump(config, checkpoint) -> tuple[Path, float]:
    """Return the predictions and the accuracy of test.py in one process."""
    path = config.parent / 'one.pkl'
    work_dir = config.parent / 'test'
    output = run_tool(
        'test.py', config, checkpoint, '--work-dir', work_dir, '--dump', path
    )
    return path, accuracy(output)


def test_train_resume_and_test(dump):
    path, top1 = dump
    results = mmengine.load(path)
    labels = [int(result['gt_label']) for result in results]
    predicted = [int(result['pred_score'].argmax()) for result in results]
    assert labels == [0, 1, 2, 3] * 3 + [0, 1, 2]
    assert top1 == pytest.approx(np.equal(labels, predicted).mean(), abs=1e-4)


@pytest.fixture(scope='module')
def dump_of_two_processes(config, checkpoint) -> tuple[Path, float]:
    path = config.parent / 'two.pkl'
    work_dir = config.parent / 'dist_test'
    output = run_two_processes(
        'dist_test.sh', config, checkpoint, 2, '--work-dir', work_dir, '--dump', path
    )
    return path, accuracy(output)


def test_two_processes_give_the_same_metrics(dump, dump_of_two_processes):
    (one, top1), (two, top1_of_two) = dump, dump_of_two_processes
    assert top1_of_two == top1
    for a, b in zip(mmengine.load(one), mmengine.load(two), strict=True):
        np.testing.assert_allclose(a['pred_score'], b['pred_score'], atol=1e-6)
        assert a['gt_label'] == b['gt_label']


def test_report_accuracy(config, dump, dump_of_two_processes):
    # Averaging a prediction with itself does not change it.
    output = run_tool(
        'analysis_tools/report_accuracy.py',
        *('--preds', dump[0], dump_of_two_processes[0]),
    )
    (top1,) = re.findall(r'Top 1 Accuracy: (\S+)', output)
    assert float(top1.rstrip('%')) == pytest.approx(
        dump[1] * (100 if '%' in top1 else 1), abs=0.01
    )


def test_dist_train(config):
    work_dir = config.parent / 'dist_train'
    output = run_two_processes(
        'dist_train.sh', config, 2, '--work-dir', work_dir, '--seed', '0'
    )
    assert 'Epoch(train) [1][3/3]' in output  # 24 clips, 2 processes, batches of 4
    assert (work_dir / 'epoch_1.pth').is_file()


@pytest.mark.slow
def test_amp(config):
    work_dir = config.parent / 'amp'
    output = run_tool('train.py', config, '--work-dir', work_dir, '--amp')
    losses = [float(loss) for loss in re.findall(r' loss: (\S+)', output)]
    assert losses
    assert np.isfinite(losses).all()
    assert accuracy(output) >= 0


@pytest.mark.slow
def test_get_flops():
    config = CONFIGS / 'selfy' / 'selfy-tsm-r50_8xb8-1x1x8-50e_sthv1-rgb.py'
    output = run_tool(
        'analysis_tools/get_flops.py', config, *('--shape', 8, 3, 224, 224)
    )
    (flops,) = re.findall(r'Flops: ([\d.]+)G', output)
    assert float(flops) == pytest.approx(36.6, rel=0.015)  # supplement, Table 3g


def test_inference_recognizer(config, checkpoint, motion_tiny):
    model = init_recognizer(str(config), str(checkpoint), device='cpu')
    result = inference_recognizer(model, str(motion_tiny / 'videos/val/00000.avi'))
    assert result.pred_score.shape == (4,)
    assert result.pred_score.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_wrong_labels_fail_before_training(config):
    output = run_tool(
        'train.py',
        config,
        *('--work-dir', config.parent / 'bad', '--cfg-options'),
        'train_dataloader.dataset.num_classes=3',
        ok=False,
    )
    assert 'has label 3, but num_classes=3 allows 0 to 2' in output
    assert 'Epoch(train)' not in output
