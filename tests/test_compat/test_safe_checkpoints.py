# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import collections
import functools
import io
import os
import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.optim import OneCycleLR
from mmengine.runner import Runner, checkpoint
from torch.utils.data import DataLoader

from selfy_mmaction.compat import safe_checkpoints
from selfy_mmaction.compat.safe_checkpoints import apply_safe_checkpoints


def test_history_is_rejected_only_without_the_workaround(symptoms):
    seen = symptoms['safe_checkpoints']
    assert seen['before'].startswith('UnpicklingError: Weights only load failed')
    assert 'mmengine.logging.history_buffer.HistoryBuffer' in seen['before']
    assert seen['after'] == 'mean 2.0'


def saved(value, **kwargs):
    file = io.BytesIO()
    torch.save(value, file, **kwargs)
    return file.getvalue()


def load(data):
    return torch.load(io.BytesIO(data))


class Reduced:
    """Object that is pickled as a function call."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


MALICIOUS = {
    'os.system': lambda file: Reduced(os.system, f'touch {file}'),
    'eval': lambda file: Reduced(eval, f'open({str(file)!r}, "w")'),
    'exec': lambda file: Reduced(exec, f'open({str(file)!r}, "w")'),
    'open': lambda file: Reduced(open, str(file), 'w'),
    '__import__': lambda file: Reduced(__import__, 'os'),
    'partial': lambda file: Reduced(functools.partial, os.system, f'touch {file}'),
    'getattr of a function': lambda file: Reduced(
        getattr, HistoryBuffer.mean, '__globals__'
    ),
    'other getattr of the class': lambda file: Reduced(
        getattr, HistoryBuffer, '__subclasses__'
    ),
    'registering a statistic': lambda file: Reduced(
        getattr, HistoryBuffer, 'register_statistics'
    ),
    'getattr of an instance': lambda file: Reduced(
        getattr, HistoryBuffer([1.0], [1]), '__class__'
    ),
    'getattr of a tensor': lambda file: Reduced(getattr, torch.zeros(1), 'data_ptr'),
    'getattr of another class': lambda file: Reduced(
        getattr, collections.OrderedDict, 'update'
    ),
    'objects in an array': lambda file: np.array([Reduced(eval, '1')], dtype=object),
    'numpy.load': lambda file: Reduced(np.load, str(file)),
}


@pytest.mark.parametrize('attack', MALICIOUS)
def test_other_objects_are_still_rejected(attack, tmp_path):
    target = tmp_path / 'touched'
    payload = {'state_dict': {}, 'extra': MALICIOUS[attack](target)}
    data = saved(payload)
    with pytest.raises(pickle.UnpicklingError, match='Weights only load failed'):
        load(data)
    assert not target.exists()


@pytest.mark.parametrize('name', ['min', 'max', 'current', 'mean'])
def test_statistics_survive(name):
    history = load(saved(HistoryBuffer([1.0, 5.0], [1, 1])))
    assert history.statistics(name) == HistoryBuffer([1.0, 5.0], [1, 1]).statistics(
        name
    )


@pytest.mark.parametrize('dtype', ['bool', 'uint8', 'int32', 'int64', 'f2', 'f4', 'f8'])
def test_numpy_data_loads(dtype):
    array = np.arange(3).astype(dtype)
    found = load(saved({'array': array, 'scalar': array[1]}))
    assert found['array'].dtype == array.dtype
    assert (found['array'] == array).all()
    assert found['scalar'] == array[1]


@pytest.mark.parametrize('core', [b'numpy.core', b'numpy._core'])
def test_files_of_numpy_1_and_2_load(core):
    data = saved(
        {'history': HistoryBuffer([2.0], [1]), 'best': np.float64(0.5)},
        _use_new_zipfile_serialization=False,
    )
    here = b'numpy._core' if b'numpy._core.multiarray' in data else b'numpy.core'
    renamed = data.replace(here + b'.multiarray', core + b'.multiarray')
    assert core + b'.multiarray' in renamed
    found = load(renamed)
    assert found['history'].mean() == 2.0
    assert found['best'] == 0.5


@pytest.mark.parametrize('anneal', ['cos', 'linear'])
def test_one_cycle_schedule_loads(anneal):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    state = OneCycleLR(
        optimizer, eta_max=0.1, total_steps=5, anneal_strategy=anneal
    ).state_dict()
    assert load(saved(state)) == state


class Fit(BaseModel):
    """Minimal model that a runner can train."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(2, 1)

    def forward(self, inputs, mode):
        loss = self.fc(inputs).float().square().mean()
        return {'loss': loss} if mode == 'loss' else [loss]


def run(work_dir, epochs, resume):
    data = torch.arange(8.0).reshape(4, 2)
    loader = DataLoader(
        [{'inputs': row} for row in data],
        batch_size=2,
        collate_fn=lambda rows: {'inputs': torch.stack([r['inputs'] for r in rows])},
    )
    runner = Runner(
        Fit(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg={'by_epoch': True, 'max_epochs': epochs, 'val_interval': 1},
        optim_wrapper={
            'type': 'AmpOptimWrapper',
            'optimizer': {'type': 'AdamW', 'lr': 0.01, 'weight_decay': 0.1},
            'paramwise_cfg': {'norm_decay_mult': 0.0},
        },
        param_scheduler=[
            {'type': 'LinearLR', 'start_factor': 0.1, 'end': 2, 'by_epoch': False},
            {'type': 'MultiStepLR', 'milestones': [1]},
        ],
        val_dataloader=loader,
        val_cfg={},
        val_evaluator={'type': 'MeanOfOutputs'},
        default_hooks={
            'checkpoint': {
                'type': 'CheckpointHook',
                'interval': 1,
                'save_best': 'mean',
                'rule': 'less',
            }
        },
        custom_hooks=[{'type': 'EMAHook'}],
        resume=resume,
        default_scope='mmengine',
        experiment_name=f'{work_dir.name}_{epochs}',
        cfg={'work_dir': str(work_dir)},
    )
    runner.train()
    return runner


@pytest.fixture
def mean_metric():
    from mmengine.evaluator import BaseMetric
    from mmengine.registry import METRICS

    class MeanOfOutputs(BaseMetric):
        def process(self, data_batch, data_samples):
            self.results += [sample.item() for sample in data_samples]

        def compute_metrics(self, results):
            return {'mean': np.mean(results)}

    METRICS.register_module(module=MeanOfOutputs)
    yield
    METRICS.module_dict.pop('MeanOfOutputs')


def test_training_resumes_from_its_checkpoint(mean_metric, tmp_path):
    first = run(tmp_path, epochs=1, resume=False)
    checkpoint = torch.load(tmp_path / 'epoch_1.pth')
    parts = {'message_hub', 'optimizer', 'param_schedulers', 'ema_state_dict', 'meta'}
    assert parts <= set(checkpoint)
    assert checkpoint['optimizer']['loss_scaler']['scale'] > 1
    best = checkpoint['message_hub']['runtime_info']['best_score']
    assert np.isfinite(best)
    assert len(list(tmp_path.glob('best_mean_*.pth'))) == 1

    second = run(tmp_path, epochs=2, resume=True)
    assert second.iter == 4
    losses = second.message_hub.get_scalar('train/loss').data[0]
    before = first.message_hub.get_scalar('train/loss').data[0]
    assert len(losses) == 4
    assert (losses[:2] == before).all()


def test_no_fallback_to_unsafe_loading(monkeypatch, tmp_path):
    # As in onedl-mmengine.
    def fall_back(file, map_location=None, weights_only=None):
        return torch.load(file, map_location=map_location, weights_only=False)

    monkeypatch.setattr(checkpoint, '_safe_torch_load', fall_back, raising=False)
    apply_safe_checkpoints()
    trace = tmp_path / 'trace'
    file = tmp_path / 'checkpoint.pth'
    file.write_bytes(saved(MALICIOUS['os.system'](trace)))
    with pytest.raises(pickle.UnpicklingError):
        checkpoint._safe_torch_load(str(file), map_location='cpu')
    assert not trace.exists()


def test_not_applied_if_checkpoints_load(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.serialization, 'add_safe_globals', calls.append)
    assert apply_safe_checkpoints() is False
    assert calls == []
    monkeypatch.setattr(safe_checkpoints, '_history_loads', lambda: False)
    assert apply_safe_checkpoints() is True
    assert len(calls) == 1
