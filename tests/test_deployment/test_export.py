# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Exported files are compared with the network's own test_step."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.deployment import comparison, description, exporting, formats
from selfy_mmaction.deployment.exported_network import ExportedNetwork
from selfy_mmaction.inference import Predictor

pytest.importorskip('onnxruntime', reason='needs the extra "deploy"')
CONFIGS = Path(__file__).parents[2] / 'configs'
NAME = 'motion/selfy-{}-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Config and checkpoint of an untrained TSM-SELFY that tells clips apart."""
    folder = tmp_path_factory.mktemp('network')
    path = folder / 'ñ ü.pth'
    config = CONFIGS / NAME.format('tsm')
    read = Config.fromfile(config)
    init_default_scope('mmaction')
    torch.manual_seed(0)
    model = MODELS.build(read.model)
    torch.nn.init.normal_(model.cls_head.fc_cls.weight, std=0.5)
    for block in model.backbone.inserted_blocks.values():
        block.last_norm.weight.data.fill_(2)
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return config, path


def read_metadata(path, format):
    if format == 'onnx':
        import onnxruntime

        return onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    names = ('description', 'classes', 'input.shape', 'input.views')
    texts = dict.fromkeys(names, '')
    load = dict(torchscript=torch.jit.load, pt2=torch.export.load)[format]
    kind = dict(torchscript='_extra_files', pt2='extra_files')[format]
    load(path, **{kind: texts})
    return {
        name: text.decode() if isinstance(text, bytes) else text
        for name, text in texts.items()
    }


@pytest.mark.parametrize(
    ('format', 'takes', 'dynamic'),
    [
        ('onnx', 'frames', True),
        pytest.param('onnx', 'normalized', False, marks=pytest.mark.slow),
        ('torchscript', 'frames', True),
        pytest.param('pt2', 'frames', True, marks=pytest.mark.slow),
    ],
)
def test_file_and_description(files, tmp_path, format, takes, dynamic):
    out = tmp_path / f'飛 ぶ{formats.FORMATS[format]}'
    result = exporting.export_network(*files, out, format, takes=takes, dynamic=dynamic)
    assert result.passed
    assert result.batches == ((1, 2, 3) if dynamic else (1,))
    card = json.loads(Path(f'{out}.json').read_text(encoding='utf-8'))
    assert len(card['classes']) == card['output']['shape'][1]
    assert card['input']['shape'][0] == ('batch' if dynamic else 1)
    assert card['comparison']['top1_agreement'] == 1
    assert card['preprocessing']['normalized_inside'] == (takes == 'frames')
    assert {path.name for path in tmp_path.iterdir()} == {out.name, f'{out.name}.json'}
    assert b'selfy_mmaction::' not in out.read_bytes()
    metadata = read_metadata(out, format)
    assert json.loads(metadata['description']) == card
    assert metadata['classes'].split('\n') == card['classes']
    assert metadata['input.shape'] == ' '.join(map(str, card['input']['shape']))
    assert metadata['input.views'] == '1'
    if format == 'torchscript':
        code = f'import sys, torch; f = torch.jit.load({str(out)!r}); x = torch.zeros('
        code += f'{[1, *card["input"]["shape"][1:]]}, dtype=torch.uint8); print(f(x).'
        code += "sum().item(), 'selfy_mmaction' in sys.modules)"
        run = [sys.executable, '-c', code]
        total, ours = subprocess.check_output(run, text=True).split()
        assert float(total) == pytest.approx(1, abs=1e-5)
        assert ours == 'False'


@pytest.mark.slow
def test_half(files, tmp_path):
    result = exporting.export_network(*files, tmp_path / 'a.onnx', half=True)
    assert 0 < result.largest_difference < 0.02


def test_tolerance(files, tmp_path):
    out = tmp_path / 'a.pt'
    # Rounding alone is more: norms are folded into the weights before them.
    with pytest.raises(exporting.ComparisonError, match='not written.* --tolerance'):
        exporting.export_network(*files, out, 'torchscript', tolerance=1e-12)
    assert not list(tmp_path.iterdir())
    for wrong in (0, -1, float('nan'), float('inf')):
        with pytest.raises(ValueError, match=f'positive number, got {wrong}'):
            exporting.export_network(*files, out, 'torchscript', tolerance=wrong)


@pytest.mark.parametrize('average_clips', ['prob', 'score', None])
def test_views_are_averaged_like_predictions(files, average_clips):
    predictor = Predictor(*files, device='cpu')
    predictor.model.cls_head.average_clips = average_clips
    clip = predictor.pipeline.open(str(SAMPLE_CLIP)).read_clip()
    inputs = torch.cat([clip.inputs['inputs'], clip.inputs['inputs'].flip(0)])
    clip.inputs['inputs'] = inputs
    network = ExportedNetwork(predictor.model, inputs)
    assert network.num_views == 2
    expected = predictor.predict_clip(clip).probabilities
    actual = network(inputs[None])[0].double().numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_a_file_that_differs_is_not_written(files, tmp_path, monkeypatch):
    real = exporting.export

    def without_motion(*args, **kwargs):
        file = real(*args, **kwargs)
        return file._replace(run=lambda frames: file.run(frames * 0))

    monkeypatch.setattr(exporting, 'export', without_motion)
    with pytest.raises(exporting.ComparisonError, match='is not written'):
        exporting.export_network(*files, tmp_path / 'a.pt', 'torchscript')
    assert not list(tmp_path.iterdir())


def test_class_names_of_several_lines_stay_one_line():
    card = dict(classes=['a\nb', 'ü  c'], input=dict(shape=['batch', 8]))
    texts = description.as_metadata(card)
    assert texts['classes'] == 'a b\nü  c'
    assert texts['input.shape'] == 'batch 8'
    assert json.loads(texts['description']) == card


def test_not_a_number_does_not_pass():
    good = comparison.Comparison((1,), 0.0, 0.0, 1.0, 1e-3)
    assert good.passed
    assert not replace(good, largest_log_difference=float('nan')).passed
    assert not replace(good, top1_agreement=0.9).passed


def test_wrong_arguments_are_refused_before_the_network_is_loaded(files, tmp_path):
    def refused(error, match, out='a.onnx', **options):
        with pytest.raises(error, match=match):
            exporting.export_network('missing.py', 'x.pth', tmp_path / out, **options)

    refused(ValueError, r'must end in \.pt2 ', format='pt2')
    refused(ValueError, 'one of onnx, torchscript, pt2', format='tflite')
    refused(ValueError, "stream must be 'exact' or 'window'", stream='sliding')
    refused(ValueError, "set stream='exact'", average_frames=8)
    refused(ValueError, "set stream='exact'", average_frames=8, stream='window')
    refused(ValueError, 'average_frames', average_frames=0, stream='exact')
    refused(FileNotFoundError, 'does not exist; create it', out='no/a.onnx')
    refused(FileNotFoundError, "video 'no.mp4'", video='no.mp4')


def test_what_cannot_be_exported_is_refused_by_name(files):
    predictor = Predictor(*files, device='cpu')
    frames = torch.zeros(8, 3, 64, 64, dtype=torch.uint8)
    network = ExportedNetwork(predictor.model, frames)
    network.model.backbone.forward = lambda x: x[torch.rand(1).item() > 2]
    match = 'Recognizer2D with ResNetTSMSELFY cannot be exported to pt2: '
    with pytest.raises(formats.ExportError, match=match):
        formats.export(network, frames[None].repeat(2, 1, 1, 1, 1), 'pt2')
    with pytest.raises(ValueError, match='Linear cannot be exported; expected a Reco'):
        ExportedNetwork(torch.nn.Linear(1, 1), frames)
