# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Show each symptom without and with its workaround, as JSON on the last line."""

import io
import json
import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import bare_package  # noqa: F401
import numpy as np
import torch
from mmengine.config import Config
from mmengine.fileio import LocalBackend
from mmengine.logging import HistoryBuffer
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from selfy_mmaction.compat import WORKAROUNDS, apply_workaround


def host_warnings():
    from mmengine.fileio import FileClient
    from mmengine.logging import MMLogger

    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    FileClient('disk')
    logger.removeHandler(handler)
    return ' '.join(messages)


def mmcv_version():
    return 'see test_mmcv_version.py'


def missing_drn():
    # The failing import is tested in its own process: it leaves half of mmaction2
    # registered, so a second import would fail.
    return 'see test_missing_drn.py'


def safe_checkpoints():
    file = io.BytesIO()
    torch.save(HistoryBuffer([1.0, 3.0], [1, 1]), file)
    file.seek(0)
    return f'mean {torch.load(file).mean()}'


def damaged_checkpoints():
    from mmengine.runner import CheckpointLoader

    with TemporaryDirectory() as folder:
        path = Path(folder, 'epoch_1.pth')
        path.touch()
        return CheckpointLoader.load_checkpoint(str(path))


def latest_checkpoint():
    from mmengine.runner import find_latest_checkpoint

    content = dict(meta={}, state_dict={}, message_hub={})
    with TemporaryDirectory() as folder:
        torch.save(content, Path(folder, 'epoch_1.pth'))
        Path(folder, 'last_checkpoint').touch()
        return find_latest_checkpoint(folder).rpartition('/')[2]


def atomic_writes():
    with TemporaryDirectory() as folder:
        path = Path(folder, 'a.txt')
        path.write_text('old')
        try:
            LocalBackend().put_text('\ud800', path)  # cannot be encoded
        except UnicodeEncodeError:
            return path.read_text()


def scaled_rates():
    schedule = dict(type='OneCycleLR', eta_max=0.1, total_steps=2)
    runner = SimpleNamespace(
        _train_dataloader=dict(batch_size=4),
        world_size=1,
        logger=logging.getLogger('none'),
        param_schedulers=[schedule],
    )
    weight = torch.nn.Parameter(torch.zeros(1))
    wrapper = OptimWrapper(torch.optim.SGD([weight], lr=0.1))
    Runner.scale_lr(runner, wrapper, dict(enable=True, base_batch_size=2))
    return [wrapper.optimizer.param_groups[0]['lr'], schedule['eta_max']]


def late_schedules():
    weight = torch.nn.Parameter(torch.zeros(1))
    wrapper = OptimWrapper(torch.optim.SGD([weight], lr=0.1))
    loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    runner = SimpleNamespace(
        _train_loop=loop,
        train_dataloader=[0],
        max_epochs=5,
        logger=logging.getLogger('none'),
    )
    schedules = [
        dict(type='LinearLR', end=10),
        dict(type='CosineAnnealingLR', begin=10),
    ]
    built = Runner._build_param_scheduler(runner, schedules, wrapper)
    return [scheduler.begin for scheduler in built]


def optimizer_options():
    from mmaction.engine.optimizers import TSMOptimWrapperConstructor

    net = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1))
    constructor = TSMOptimWrapperConstructor(
        dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1)),
        dict(fc_lr5=False, custom_keys={'0.weight': dict(lr_mult=10)}),
    )
    groups = constructor(net).optimizer.param_groups
    return [g['lr'] for g in groups if net[0].weight in set(g['params'])]


def color_jitter():
    from mmaction.datasets.transforms import ColorJitter

    image = np.full((2, 2, 3), (200, 100, 50), np.float32)
    return ColorJitter.adjust_hue(image, -0.1)[0, 0].tolist()


def cpu_distributed():
    return 'see test_cpu_distributed.py'


def cpu_amp():
    weight = torch.nn.Parameter(torch.zeros(1))
    wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD([weight], lr=0.1))
    return f'scale {wrapper.loss_scaler.get_scale()}'


def package_configs():
    return Config._get_cfg_path('selfy_mmaction::_base_/none.py', 'child.py')


def torchvision_urls():
    from mmengine.runner import checkpoint

    return checkpoint.get_torchvision_models()['resnet50']


def bfloat16_scores():
    from mmaction.models.heads import TSNHead
    from mmaction.structures import ActionDataSample

    head = TSNHead(num_classes=2, in_channels=2)
    sample = ActionDataSample().set_gt_label(1)
    scores = torch.tensor([[0.0, 1.0]], dtype=torch.bfloat16)
    losses = head.loss_by_feat(scores, [sample])
    predicted = head.predict_by_feat(scores, [sample])[0].pred_score
    return [losses['loss_cls'].item(), losses['top1_acc'].item(), str(predicted.dtype)]


def testing_views():
    from mmaction.registry import MODELS
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmaction'):
        recognizer = MODELS.build(
            dict(
                type='Recognizer2D',
                backbone=dict(type='ResNet', depth=18),
                test_cfg=dict(max_testing_views=4),
            )
        )
    out, _ = recognizer.extract_feat(torch.zeros(1, 6, 3, 32, 32), test_mode=True)
    return list(out.shape)


def numpy_names():
    from mmaction.datasets.transforms import PoseCompact
    from mmaction.evaluation.functional.accuracy import (
        average_recall_at_avg_proposals,
    )
    from mmaction.evaluation.functional.ava_evaluation.metrics import (
        compute_average_precision,
    )
    from mmaction.evaluation.metrics import RetrievalRecall

    keypoint = np.array([[[[10.0, 20.0], [50.0, 40.0]]]])
    pose = dict(img_shape=(100, 100), keypoint=keypoint)
    found = {
        'box': lambda: PoseCompact(padding=0.0)(pose)['crop_quadruple'],
        'ap': lambda: str(compute_average_precision(None, None)),
        'auc': lambda: average_recall_at_avg_proposals(
            {'v': np.array([[0.0, 1.0]])},
            {'v': np.array([[0.0, 1.0, 0.9]])},
            total_num_proposals=1,
            temporal_iou_thresholds=np.array([0.5]),
        )[3].round(12),
        'recall': lambda: RetrievalRecall.calculate(
            np.array([[0.9, 0.1], [0.2, 0.8]]), [[0], [0]], 1, target_indices=True
        )[0].item(),
    }
    return {name: attempt(function) for name, function in found.items()}


def multisports_frames():
    from mmaction.evaluation.functional.multisports_utils import iou3dt_voc

    first = np.array([[i, 0, 0, 9, 9] for i in range(4)], float)
    return iou3dt_voc(first, first[2:])


def attempt(symptom):
    try:
        return symptom()
    except Exception as error:
        return f'{type(error).__name__}: {error}'


report = {}
for name in WORKAROUNDS:
    symptom = globals()[name]
    before = attempt(symptom)
    applied = [apply_workaround(name), apply_workaround(name)]
    report[name] = {'before': before, 'applied': applied, 'after': attempt(symptom)}
print(json.dumps(report))
