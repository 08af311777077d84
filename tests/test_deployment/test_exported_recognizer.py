# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's unmodified test.py and init_recognizer take an exported file."""

import json
import shutil
import sys
from pathlib import Path

import mmengine
import numpy as np
import pytest
import torch
from mmaction.apis import inference_recognizer, init_recognizer
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.runner import load_checkpoint

from selfy_mmaction.checkpoints import SAMPLE_CLIP, packaged_config
from selfy_mmaction.deployment import ExportedRecognizer, runtimes
from selfy_mmaction.deployment.exporting import export_network
from selfy_mmaction.run import tools_folder

NAME = 'selfy_mmaction://selfy-tsn-r18-slim-motion'
MODEL = ['model._delete_=True', 'model.type=ExportedRecognizer']


@pytest.fixture(scope='module')
def exported(tmp_path_factory) -> Path:
    """The packaged network as TorchScript, which is quick to export."""
    path = tmp_path_factory.mktemp('exported') / 'ñ ü.pt'
    export_network(None, NAME, path, 'torchscript')
    return path


@pytest.fixture
def config() -> Config:
    config = Config.fromfile(packaged_config(NAME))
    config.merge_from_dict({'model._delete_': True, 'model.type': 'ExportedRecognizer'})
    return config


@pytest.fixture(scope='module')
def data(motion_tiny, tmp_path_factory) -> list[str]:
    """Options for a few clips, with the labels of the twelve classes."""
    lists = tmp_path_factory.mktemp('lists') / 'val.txt'
    lines = (motion_tiny / 'val.txt').read_text().splitlines()
    lists.write_text('\n'.join(lines[:5]) + '\n')  # not a multiple of the batch
    dataset = 'test_dataloader.dataset'
    return [
        f'{dataset}.ann_file={lists}',
        f'{dataset}.data_prefix.video={motion_tiny / "videos"}',
        'test_dataloader.batch_size=2',
        'test_dataloader.num_workers=0',
        'test_dataloader.persistent_workers=False',
    ]


def test_same_results_as_the_network(run_script, exported, data, tmp_path):
    results = {}
    for name, checkpoint, model in (('file', exported, MODEL), ('network', NAME, [])):
        dump = tmp_path / f'{name}.pkl'
        run_script(
            tools_folder() / 'test.py',
            *(packaged_config(NAME), checkpoint, '--dump', dump),
            *('--work-dir', tmp_path, '--cfg-options', *model, *data),
        )
        results[name] = mmengine.load(dump)
    assert len(results['file']) == 5
    for of_file, of_network in zip(*results.values(), strict=True):
        torch.testing.assert_close(of_file['pred_score'], of_network['pred_score'])
        assert of_file['pred_label'] == of_network['pred_label']
        assert of_file['gt_label'] == of_network['gt_label']
    # mmaction2's tool reads the dump.
    run_script(
        tools_folder() / 'analysis_tools' / 'eval_metric.py',
        *(packaged_config(NAME), tmp_path / 'file.pkl'),
    )


@pytest.mark.slow
@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
def test_normalized_frames_one_clip_at_a_time(config, tmp_path, runtime):
    pytest.importorskip('onnxruntime', reason='needs the extra "deploy"')
    pytest.importorskip(runtime, reason=f'needs the extra "{runtime}"')
    path = tmp_path / 'a.onnx'
    export_network(None, NAME, path, takes='normalized', dynamic=False)
    config.model.update(runtime=runtime, threads=1)
    model = init_recognizer(config, str(path), device='cpu')
    network = init_recognizer(packaged_config(NAME), NAME, device='cpu')
    expected = inference_recognizer(network, str(SAMPLE_CLIP)).pred_score
    found = inference_recognizer(model, str(SAMPLE_CLIP)).pred_score
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    batch = torch.stack([torch.randn(8, 3, 64, 64) for _ in range(3)])
    assert model(batch).shape == (3, 12)


def test_another_dataset_is_refused(run_script, exported, data, tmp_path):
    wrong = [*data, 'test_dataloader.dataset.num_classes=4']
    with pytest.raises(ValueError, match='head has num_classes=12, but .* has num_cla'):
        run_script(
            *(tools_folder() / 'test.py', packaged_config(NAME), exported),
            *('--work-dir', tmp_path, '--cfg-options', *MODEL, *wrong),
        )


def test_wrong_checkpoints_are_refused(exported, tmp_path):
    model = ExportedRecognizer()
    with pytest.raises(RuntimeError, match='no exported file is loaded; pass it as'):
        model(torch.zeros(1, 8, 3, 64, 64))
    weights = tmp_path / 'weights.pt'
    torch.save(dict(state_dict=dict(a=torch.zeros(1))), weights)
    for checkpoint, message in (
        (NAME, 'does not fit the inserted blocks of ExportedRecognizer'),
        (weights, 'takes a file of `run export` as the checkpoint, but got weights'),
    ):
        with pytest.raises(ValueError, match=message):
            load_checkpoint(model, str(checkpoint))
    with pytest.raises(FileNotFoundError, match=r'file .*no\.pt2 does not exist'):
        load_checkpoint(model, 'no.pt2')
    lonely = shutil.copy(exported, tmp_path / 'b.pt')
    with pytest.raises(FileNotFoundError, match=r'b\.pt\.json does not exist; `run ex'):
        load_checkpoint(model, str(lonely))
    assert not model.card


def test_weights_in_a_pt_file_are_still_read(tmp_path):
    path = tmp_path / 'linear.pt'
    torch.save(dict(state_dict=torch.nn.Linear(2, 1).state_dict()), path)
    assert 'weight' in load_checkpoint(torch.nn.Linear(2, 1), str(path))['state_dict']


def test_an_exported_file_does_not_fit_a_network(exported):
    model = MODELS.build(Config.fromfile(packaged_config(NAME)).model)
    with pytest.raises(ValueError, match='does not fit the inserted blocks'):
        load_checkpoint(model, str(exported))


def test_other_frames_are_refused(exported):
    model = ExportedRecognizer()
    load_checkpoint(model, str(exported))
    with pytest.raises(ValueError, match=r'\[8, 3, 64, 64\], but .* \[8, 3, 32, 32\]'):
        model(torch.zeros(2, 8, 3, 32, 32))
    with pytest.raises(ValueError, match="no mode 'loss'; it only predicts"):
        model(torch.zeros(2, 8, 3, 64, 64), mode='loss')


def test_clips_of_3d_networks_are_normalized_by_channel(exported, tmp_path):
    path = shutil.copy(exported, tmp_path / 'a.pt')
    card = json.loads(Path(f'{exported}.json').read_text(encoding='utf-8'))
    card['input'].update(shape=['batch', 1, 3, 8, 64, 64], dtype='float32')
    card['preprocessing']['normalization'].update(mean=[1, 2, 3], std=[2, 2, 2])
    Path(f'{path}.json').write_text(json.dumps(card))
    model = ExportedRecognizer()
    model.open(path)
    clip = torch.full((1, 3, 8, 64, 64), 5, dtype=torch.uint8)
    data = model.data_preprocessor(dict(inputs=[clip], data_samples=[]))
    channels = data['inputs'].mean((0, 1, 3, 4, 5))
    torch.testing.assert_close(channels, torch.tensor([2.0, 1.5, 1.0]))


@pytest.mark.parametrize(
    ('path', 'options', 'error', 'message'),
    [
        ('a.onnx', {}, FileNotFoundError, r'file a\.onnx does not exist'),
        ('a.tflite', {}, ValueError, r'must end in \.onnx, \.pt, \.pt2'),
        ('a.pt', {'runtime': 'openvino'}, ValueError, r'runs \.onnx files; a\.pt is'),
        ('a.pt', {'runtime': 'tvm'}, ValueError, "or 'pt2', but got 'tvm'"),
        ('a.pt', {'threads': 0}, ValueError, 'threads must be .* 0'),
    ],
)
def test_wrong_arguments_of_open_file(path, options, error, message):
    with pytest.raises(error, match=message):
        runtimes.open_file(path, **options)


@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
def test_a_missing_runtime_names_its_extra(monkeypatch, tmp_path, runtime):
    path = tmp_path / 'a.onnx'
    path.touch()
    monkeypatch.setitem(sys.modules, runtime, None)
    extra = {'onnxruntime': 'deploy', 'openvino': 'openvino'}[runtime]
    with pytest.raises(ImportError, match=rf"install 'selfy-mmaction\[{extra}\]'"):
        runtimes.open_file(path, runtime)


def test_results_are_not_overwritten(exported):
    run = runtimes.open_file(exported)
    frames = np.zeros((1, 8, 3, 64, 64), np.uint8)
    first = run(frames)
    kept = first.copy()
    frames[:, ::2] = 200
    assert not np.allclose(run(frames), kept)
    np.testing.assert_array_equal(first, kept)
