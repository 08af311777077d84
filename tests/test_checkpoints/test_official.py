# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Conversion of synthetic checkpoints; test_golden.py checks the networks' outputs."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from mmaction.models.backbones.resnet_tsm import ResNetTSM, TemporalShift
from mmaction.registry import MODELS
from mmengine.config import Config
from torch import Tensor

from selfy_mmaction.checkpoints.official import (
    convert_official,
    find_depth,
    fit_config,
)

ROOT = Path(__file__).parents[2]
OFFICIAL = ROOT / 'configs/selfy/official'
BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
}


def official_shapes(
    depth: int, num_offsets: int = 5, num_classes: int = 174
) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the SELFY code's checkpoint, without ``module.``."""
    shapes = {}

    def layer(conv: str, norm: str, shape: tuple[int, ...], channels: int) -> None:
        shapes[f'{conv}.weight'] = shape
        for key in ('weight', 'bias', 'running_mean', 'running_var'):
            shapes[f'{norm}.{key}'] = (channels,)
        shapes[f'{norm}.num_batches_tracked'] = ()

    def block(name: str, sides: list[int], widths: list[int]) -> None:
        for k, side in enumerate(sides):
            shape = (widths[k + 1], widths[k], side, side)
            conv, norm = f'{name}.conv{k + 1}', f'{name}.bn{k + 1}'
            layer(conv, norm, shape, shape[0])

    layer('base_model.conv1', 'base_model.bn1', (64, 3, 7, 7), 64)
    before, expansion = 64, 4 if depth >= 50 else 1
    for i, n_blocks in enumerate(BLOCKS[depth]):
        width = 64 * 2**i
        after = width * expansion
        for j in range(n_blocks):
            name = f'base_model.layer{i + 1}.{j}'
            if expansion == 1:
                block(name, [3, 3], [before, width, width])
            else:
                block(name, [1, 3, 1], [before, width, width, after])
            if j == 0 and (i > 0 or before != after):
                down = f'{name}.downsample'
                layer(f'{down}.0', f'{down}.1', (after, before, 1, 1), after)
            before = after

    channels, selfy = 128 * expansion, 'base_model.selfy.stss_'
    down = f'{selfy}transformation.downsample'
    layer(f'{down}.0', f'{down}.1', (128, channels, 3, 3), 128)
    for step, widths in (
        ('extraction', (1, 4, 16, 64, 64)),
        ('integration', (64, 64, 64, 64)),
    ):
        for k, (n_in, n_out) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            name = f'{selfy}{step}.conv{k}'
            layer(f'{name}.0', f'{name}.1', (n_out, n_in, 1, 3, 3), n_out)
    fuse, up = f'{selfy}integration.conv3_fuse', f'{selfy}integration.upsample'
    layer(f'{fuse}.1', f'{fuse}.2', (64, 64 * num_offsets, 1, 3, 3), 64)
    layer(f'{up}.0', f'{up}.1', (64, channels, 1, 1, 1), channels)
    shapes['new_fc.weight'] = (num_classes, 512 * expansion, 1)
    shapes['new_fc.bias'] = (num_classes,)
    return shapes


def tsm_shapes(depth: int, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the TSM code's checkpoint, without ``module.``."""
    shapes = {}
    for name, shape in official_shapes(depth, num_classes=num_classes).items():
        parts = name.split('.')
        if '.selfy.' in name:
            continue
        # ResNets with 23 or more blocks in layer3 shift in every second block.
        shifted = parts[1].startswith('layer') and parts[3] == 'conv1'
        if shifted and (depth < 101 or int(parts[2]) % 2 == 0):
            name = name.replace('conv1', 'conv1.net')
        shapes[name] = shape[:2] if name == 'new_fc.weight' else shape
    return shapes


def make_state(shapes: dict[str, tuple[int, ...]], device: str = 'cpu') -> dict:
    return {
        name: torch.full(shape, float(i), device=device)
        for i, (name, shape) in enumerate(shapes.items())
    }


def load_tool():
    spec = importlib.util.spec_from_file_location(
        'convert_official', ROOT / 'tools' / 'convert_official.py'
    )
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def build(state: dict[str, Tensor], kind: str = 'selfy'):
    """Build the model of the default config on the meta device."""
    config = Config.fromfile(load_tool().default_config(find_depth(state)))
    fit_config(config, state, kind)
    with torch.device('meta'):
        return MODELS.build(config.model)


def test_official_shapes_equal_the_recorded_ones():
    golden = json.loads((ROOT / 'tests/data/golden/official_net_r18.json').read_text())
    shapes = {f'module.{k}': list(shape) for k, shape in official_shapes(18).items()}
    assert shapes == golden['checkpoint']


@pytest.mark.parametrize('num_offsets', [5, 9])
@pytest.mark.parametrize('depth', [18, 34, 50, 101])
def test_selfy_of_any_depth(depth, num_offsets):
    state = make_state(official_shapes(depth, num_offsets), 'meta')
    model = build(state)
    assert model.backbone.depth == depth
    offsets = model.backbone.inserted_blocks['layer2'].transformation.offsets
    assert offsets == tuple(range(-(num_offsets // 2), num_offsets // 2 + 1))
    converted = convert_official(state, model)
    assert {k: v.shape for k, v in converted.items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }
    # The official code shifts in every block.
    blocks = [b for i in range(1, 5) for b in getattr(model.backbone, f'layer{i}')]
    shifts = [block.conv1.conv for block in blocks]
    assert len(shifts) == sum(BLOCKS[depth])
    assert all(isinstance(shift, TemporalShift) for shift in shifts)
    assert {(shift.num_segments, shift.shift_div) for shift in shifts} == {(8, 8)}


@pytest.mark.parametrize('depth', [18, 50, 101])
def test_tsm_of_any_depth(depth):
    state = make_state(tsm_shapes(depth, num_classes=400), 'meta')
    model = build(state, 'tsm')
    assert type(model.backbone) is ResNetTSM
    assert model.cls_head.num_classes == 400
    converted = convert_official(state, model, 'tsm')
    assert {k: v.shape for k, v in converted.items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }


def without_block(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Remove the SELFY block, as ``--arch TSM`` of the SELFY code."""
    return {k: v for k, v in shapes.items() if '.selfy.' not in k}


def without_dropout(state: dict[str, Tensor], last: str) -> dict[str, Tensor]:
    """Rename the last layer, as ``--dropout 0`` of the official code."""
    return {k.replace('new_fc', f'base_model.{last}'): v for k, v in state.items()}


@pytest.mark.parametrize('depth', [18, 50, 101])
def test_tsm_of_the_selfy_code(depth):
    state = make_state(without_block(official_shapes(depth)), 'meta')
    model = build(state)
    assert not hasattr(model.backbone, 'inserted_blocks')
    converted = convert_official(state, model)
    assert {k: v.shape for k, v in converted.items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }
    # The SELFY code shifts in every block, even without SELFY.
    blocks = [b for i in range(1, 5) for b in getattr(model.backbone, f'layer{i}')]
    assert len(blocks) == sum(BLOCKS[depth])
    assert all(isinstance(block.conv1.conv, TemporalShift) for block in blocks)


@pytest.mark.parametrize(
    ('shapes', 'last', 'kind'),
    [
        (official_shapes(18), 'fc1', 'selfy'),
        (without_block(official_shapes(18)), 'fc1', 'selfy'),
        (tsm_shapes(18, num_classes=174), 'fc', 'tsm'),
    ],
)
def test_no_dropout(shapes, last, kind):
    state = without_dropout(make_state(shapes), last)
    # Linear layer instead of a convolution.
    weight = f'base_model.{last}.weight'
    state[weight] = state[weight].flatten(1)
    model = build(state, kind)
    assert model.cls_head.dropout is None
    converted = convert_official(state, model, kind)
    assert len(converted) == len(state)
    assert converted['cls_head.fc_cls.weight'] is state[weight]
    assert converted['cls_head.fc_cls.bias'] is state[f'base_model.{last}.bias']


def test_tsm_values():
    state = make_state(tsm_shapes(101, num_classes=400))
    converted = convert_official(state, build(state, 'tsm'), 'tsm')
    block = 'base_model.layer4.0.'
    for ours, official in {
        'backbone.conv1.bn.bias': 'base_model.bn1.bias',
        'backbone.layer4.0.conv1.conv.net.weight': block + 'conv1.net.weight',
        'backbone.layer4.1.conv1.conv.weight': 'base_model.layer4.1.conv1.weight',
        'backbone.layer4.0.conv3.bn.running_var': block + 'bn3.running_var',
        'backbone.layer4.0.downsample.bn.weight': block + 'downsample.1.weight',
        'cls_head.fc_cls.bias': 'new_fc.bias',
    }.items():
        assert converted[ours] is state[official]


def test_resnet101_of_mmaction2_is_not_the_official_one():
    state = make_state(official_shapes(101), 'meta')
    config = Config.fromfile(next(OFFICIAL.glob('*r50*')))
    config.model.backbone.depth = 101
    with torch.device('meta'):
        model = MODELS.build(config.model)
    message = 'no counterpart .*backbone.layer1.1.conv1.conv.weight'
    with pytest.raises(ValueError, match=message):
        convert_official(state, model)


@pytest.fixture(scope='module')
def state() -> dict[str, Tensor]:
    return make_state(official_shapes(18))


def run(monkeypatch, folder: Path, content, *options: str) -> dict:
    torch.save(content, folder / 'in.pth.tar')
    arguments = [str(folder / 'in.pth.tar'), str(folder / 'out.pth'), *options]
    monkeypatch.setattr(sys, 'argv', ['convert_official.py', *arguments])
    load_tool().main()
    return torch.load(folder / 'out.pth', weights_only=True)


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_file(state, prefix, monkeypatch, tmp_path):
    content = {f'{prefix}{name}': value for name, value in state.items()}
    content = {'epoch': 3, 'arch': 'SELFY', 'state_dict': content, 'best_prec1': 50.0}
    written = run(monkeypatch, tmp_path, content)
    expected = convert_official(state, build(state))
    assert sorted(path.name for path in tmp_path.iterdir()) == ['in.pth.tar', 'out.pth']
    assert set(written) == {'state_dict', 'meta'}
    assert written['state_dict'].keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(written['state_dict'][name], value), name
    config = Config.fromstring(written['meta']['cfg'], '.py')
    config.model.backbone.pretrained = None
    model = MODELS.build(config.model)
    model.load_state_dict(written['state_dict'], strict=True)


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_converted_tsm_loads_into_our_config(prefix, monkeypatch, tmp_path):
    state = make_state(without_block(official_shapes(18)))
    state = without_dropout(state, 'fc1')
    content = {f'{prefix}{name}': value for name, value in state.items()}
    written = run(monkeypatch, tmp_path, {'state_dict': content})
    config = ROOT / 'configs/ablations/tsm-r18_8xb8-1x1x8-50e_sthv1-rgb.py'
    with torch.device('meta'):
        model = MODELS.build(Config.fromfile(config).model)
    model.load_state_dict(written['state_dict'], strict=True, assign=True)
    weight = model.cls_head.fc_cls.weight
    assert torch.equal(weight, state['base_model.fc1.weight'].squeeze(2))


class Malicious:
    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


def without(state, name):
    return {k: v for k, v in state.items() if k != name}


CONV1 = 'base_model.layer1.0.conv1.weight'
FUSE = 'base_model.selfy.stss_integration.conv3_fuse.1.weight'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda state: without(state, CONV1), f'missing: {CONV1}'),
        (lambda state: without(state, 'new_fc.bias'), 'missing: new_fc.bias'),
        (lambda state: without(state, FUSE), f'missing: {FUSE}'),
        (lambda state: {**state, 'base_model.fc.weight': torch.zeros(1)},
         'unexpected: base_model.fc.weight'),
        (lambda state: {**state, CONV1: torch.zeros(64, 64, 1, 1)},
         rf'wrong shape: {CONV1} is \(64, 64, 1, 1\)'),
        (lambda state: {**state, FUSE: torch.zeros(64, 320, 3, 3, 3)},
         rf'wrong shape: {FUSE} is \(64, 320, 3, 3, 3\)'),
        (lambda state: {**state, FUSE: torch.zeros(())}, rf'wrong shape: {FUSE} is'),
        (lambda state: {**state, 'new_fc.weight': torch.zeros(174, 64, 1)},
         'wrong shape: new_fc.weight'),
        (lambda state: {k: v for k, v in state.items() if 'layer4.1' not in k},
         r'\(2, 2, 2, 1\) blocks'),
        (lambda state: {f'backbone.{k}': v for k, v in state.items()},
         r"\(0, 0, 0, 0\) blocks .* first name is 'backbone.base_model.conv1.weight'"),
        (lambda state: make_state(tsm_shapes(18, 174)), 'give --kind tsm'),
        (lambda state: without_block(
            {**state, 'new_fc.weight': state['new_fc.weight'].squeeze(2)}),
         'a TSN of the TSM code'),
        (lambda state: without_dropout(without_block(
            {**state, 'new_fc.weight': state['new_fc.weight'].squeeze(2)}), 'fc'),
         'base_model.fc is .* a TSN of the TSM code'),
        (lambda state: {'state_dict': 5}, 'no state_dict'),
        (lambda state: {}, 'no state_dict'),
        (lambda state: [1, 2], 'no state_dict'),
    ],
)  # fmt: skip
def test_file_that_does_not_fit(state, change, message, monkeypatch, tmp_path):
    with pytest.raises(SystemExit, match=message):
        run(monkeypatch, tmp_path, change(state))
    assert [path.name for path in tmp_path.iterdir()] == ['in.pth.tar']


def test_kind_tsm_with_a_checkpoint_of_the_selfy_code(state, monkeypatch, tmp_path):
    for content in (state, without_block(state)):
        with pytest.raises(SystemExit, match='no shift .* omit --kind tsm'):
            run(monkeypatch, tmp_path, content, '--kind', 'tsm')
    assert [path.name for path in tmp_path.iterdir()] == ['in.pth.tar']


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('empty.py', ''),
        ('half.json', '{'),
        ('list.json', '[1]'),
        ('unknown.py', 'model = dict(type="NoSuchModel")'),
        ('broken.py', 'model = dict('),
        ('notes.txt', 'model'),
    ],
)
def test_invalid_config(name, content, monkeypatch, tmp_path):
    config = tmp_path / name
    config.write_text(content)
    state = {'base_model.conv1.weight': torch.zeros(1)}
    with pytest.raises(SystemExit, match=f'--config .*{name} does not build'):
        run(monkeypatch, tmp_path, state, '--config', str(config))


def test_output_that_cannot_be_written(state, monkeypatch, tmp_path):
    source = tmp_path / 'in.pth.tar'
    torch.save(state, source)
    before = source.read_bytes()
    for out, message in (
        (source, 'would overwrite it'),
        (tmp_path / 'no_such_folder' / 'out.pth', 'the folder of OUT'),
        (tmp_path, str(tmp_path)),
    ):
        arguments = ['convert_official.py', str(source), str(out)]
        monkeypatch.setattr(sys, 'argv', arguments)
        with pytest.raises(
            SystemExit, match=f'in.pth.tar was not converted.*{message}'
        ):
            load_tool().main()
    assert source.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ['in.pth.tar']


def test_config_that_does_not_fit(state, monkeypatch, tmp_path):
    (config,) = OFFICIAL.glob('*r50*')
    with pytest.raises(SystemExit, match=f'wrong shape: {CONV1}'):
        run(monkeypatch, tmp_path, state, '--config', str(config))
    assert [path.name for path in tmp_path.iterdir()] == ['in.pth.tar']


def test_error_lists_all_problems(state):
    wrong = {**without(state, CONV1), 'left': torch.zeros(1)}
    with pytest.raises(ValueError, match='missing: [^$]*unexpected: left') as error:
        convert_official(wrong, build(state))
    assert CONV1 in str(error.value)


def test_file_with_code_is_rejected(state, monkeypatch, tmp_path):
    malicious = Malicious()
    malicious.path = tmp_path / 'was_here'
    with pytest.raises(SystemExit, match='(?s)not converted.*system'):
        run(monkeypatch, tmp_path, {'state_dict': state, 'extra': malicious})
    assert [path.name for path in tmp_path.iterdir()] == ['in.pth.tar']


# The format of the official code (torch < 1.6), and the current one.
@pytest.mark.parametrize('zipped', [False, True])
@pytest.mark.parametrize('size', [0, 7, 60, 5000])
def test_truncated_file(size, zipped, state, monkeypatch, tmp_path):
    save = torch.save
    save(state, tmp_path / 'whole', _use_new_zipfile_serialization=zipped)
    content = (tmp_path / 'whole').read_bytes()[:size]
    monkeypatch.setattr(torch, 'save', lambda _, path: path.write_bytes(content))
    with pytest.raises(SystemExit, match='in.pth.tar (was not read|is not a complete)'):
        run(monkeypatch, tmp_path, state)
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.parametrize(
    'content',
    [
        b'Not a checkpoint, but text\n' * 9,
        b'<!DOCTYPE html><html>404</html>',
        bytes(range(256)) * 40,
        b'\x80\x04]\x94.',  # a pickled list
        b'PK\x05\x06' + bytes(18),  # an empty zip file
        b'\x1f\x8b\x08' + bytes(99),
    ],
)
def test_file_of_another_kind(content, monkeypatch, tmp_path):
    monkeypatch.setattr(torch, 'save', lambda _, path: path.write_bytes(content))
    with pytest.raises(SystemExit, match='in.pth.tar (is not|was not read|has no)'):
        run(monkeypatch, tmp_path, None)
    assert [path.name for path in tmp_path.iterdir()] == ['in.pth.tar']


def test_interrupted_writing_leaves_the_old_file(state, monkeypatch, tmp_path):
    torch.save(state, tmp_path / 'in.pth.tar')
    (tmp_path / 'out.pth').write_text('old')

    def fail(content, path):
        Path(path).write_text('half')
        raise OSError('disk full')

    tool = load_tool()
    monkeypatch.setattr(tool.torch, 'save', fail)
    with pytest.raises(OSError, match='disk full'):
        tool.convert(tmp_path / 'in.pth.tar', tmp_path / 'out.pth', 'selfy', None)
    assert (tmp_path / 'out.pth').read_text() == 'old'
    assert sorted(p.name for p in tmp_path.iterdir()) == ['in.pth.tar', 'out.pth']
