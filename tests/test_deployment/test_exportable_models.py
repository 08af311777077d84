# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What cannot be exported is refused by name, before any long work."""

import copy
import runpy
import sys
from pathlib import Path

import pytest
import torch
from mmaction.models.common import TAM
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope

from selfy_mmaction.deployment import exporting
from selfy_mmaction.deployment.comparison import compare
from selfy_mmaction.deployment.exportable_models import check_kind, check_modules
from selfy_mmaction.deployment.formats import ExportError

CONFIGS = Path(__file__).parents[2] / 'configs'
TSN = 'motion/tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'


@pytest.fixture(scope='module')
def tsn():
    init_default_scope('mmaction')
    return Config.fromfile(CONFIGS / TSN)


def build(config, **head):
    model = copy.deepcopy(config.model)
    model.cls_head.update(head)
    return MODELS.build(model).eval()


def test_networks_that_can_be_exported_pass(tsn):
    check_kind(build(tsn))
    check_modules(build(tsn), 'onnx')


def test_random_relations_of_frames(tsn):
    trn = dict(type='TRNHead', num_segments=8, relation_type='TRNMultiScale')
    match = r'RelationModuleMultiScale \(cls_head.consensus\) cannot be exported: .*TRN'
    with pytest.raises(ValueError, match=match):
        check_modules(build(tsn, **trn), 'pt2', dynamic=False)
    check_modules(build(tsn, **{**trn, 'relation_type': 'TRN'}), 'onnx')


def test_groups_per_clip_need_a_fixed_number_of_clips(tsn):
    model = build(tsn)
    model.backbone.layer1[0].conv2 = TAM(16, 8)
    match = r'TAM \(backbone.layer1.0.conv2\) cannot be exported: .*--dynamic none'
    with pytest.raises(ValueError, match=match):
        check_modules(model, 'torchscript')
    check_modules(model, 'torchscript', dynamic=False)
    check_modules(model, 'pt2')


def test_compiled_operators(tsn):
    operator = type('TINShift', (torch.nn.Module,), {'__module__': 'mmcv.ops.tin'})
    model = build(tsn)
    model.neck = torch.nn.Sequential(operator())
    with pytest.raises(ValueError, match=r'TINShift \(neck.0\) .* compiled operator'):
        check_modules(model, 'onnx')


def test_refused_before_the_video_is_read(tsn, tmp_path, monkeypatch):
    config = copy.deepcopy(tsn)
    config.model.cls_head.update(
        type='TRNHead', num_segments=8, relation_type='TRNMultiScale'
    )
    path = tmp_path / 'trn.pth'
    torch.save(dict(state_dict=MODELS.build(config.model).state_dict()), path)
    monkeypatch.setattr(exporting, 'read_clips', None)
    with pytest.raises(ValueError, match='RelationModuleMultiScale'):
        exporting.export_network(config, path, tmp_path / 'a.pt', 'torchscript')
    assert [each.name for each in tmp_path.iterdir()] == ['trn.pth']


@pytest.mark.parametrize(
    ('kind', 'match'),
    [
        ('RecognizerGCN', 'RecognizerGCN cannot be exported; expected a Recognizer2D'),
        ('MMRecognizer3D', 'MMRecognizer3D cannot be exported; expected'),
    ],
)
def test_recognizers_of_other_inputs(kind, match):
    model = torch.nn.Identity()
    model.__class__ = type(kind, (torch.nn.Identity,), {})
    with pytest.raises(ValueError, match=match):
        check_kind(model)


def test_file_that_cannot_run_a_batch(tsn):
    class Network:
        model = build(tsn)

    def run(frames):
        raise RuntimeError('Traceback of the runtime\n\nweight of size [8], not 16')

    clips = [dict(inputs=torch.zeros(8, 3, 32, 32, dtype=torch.uint8))]
    clips[0]['data_samples'] = ActionDataSample().set_gt_label(0)
    inputs = clips[0]['inputs'][None]
    with pytest.raises(ExportError, match=r'cannot run a batch of 1: .* not 16'):
        compare(run, Network, clips, inputs, (1,), tolerance=1e-3)


def test_command_line(tsn, tmp_path, monkeypatch, capsys):
    config = copy.deepcopy(tsn)
    trn = dict(type='TRNHead', num_segments=8, relation_type='TRNMultiScale')
    config.model.cls_head.update(trn)
    config.dump(tmp_path / 'trn.py')
    torch.save(
        dict(state_dict=MODELS.build(config.model).state_dict()), tmp_path / 'trn.pth'
    )
    tool = CONFIGS.parent / 'tools' / 'export.py'
    out = tmp_path / 'a.pt'
    args = [tool, tmp_path / 'trn.py', tmp_path / 'trn.pth', out]
    monkeypatch.setattr(sys, 'argv', [*map(str, args), '--format', 'torchscript'])
    with pytest.raises(SystemExit, match='^2$'):
        runpy.run_path(str(tool), run_name='__main__')
    error = capsys.readouterr().err
    assert error.startswith('error: RelationModuleMultiScale (cls_head.consensus)')
    assert not out.exists()
