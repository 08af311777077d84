# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Modules are found in checkpoints of MOSS and RLDX-1, and converted by the tool."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from safetensors.torch import save_file

from selfy_mmaction.checkpoints.moss import find_motion_module, find_motion_modules

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / 'tests' / 'data' / 'golden'
TOOL = ROOT / 'tools' / 'convert_official.py'
MOSS = 'visual.side_network.moss_layers.0.'
RLDX = 'model.visual.motion_block.'
# Names of older checkpoints of MOSS: one list for each order.
OLD = [
    (f'{MOSS}stss_encoders.0.', 'visual.side_network.selfy_layers.0.'),
    (f'{MOSS}stss_encoders.1.', 'visual.side_network.selfy_layers2.0.'),
]
OTHERS = {'visual.conv1.weight': torch.ones(1), 'out_proj.weight': torch.ones(2, 2)}


def golden(name):
    with np.load(GOLDEN / f'{name}.npz') as file:
        meta = json.loads(str(file['meta']))
        values = {key: torch.from_numpy(file[key]) for key in file.files[:-1]}
    return meta, values


def weights(name, prefix):
    """Return a checkpoint that has the module of a recording."""
    _, values = golden(name)
    module = {
        prefix + key.removeprefix('param:'): value
        for key, value in values.items()
        if key.startswith('param:')
    }
    return {**OTHERS, **module}


def old_names(state):
    renamed = {}
    for name, value in state.items():
        for new, old in OLD:
            name = name.replace(new, old)
        renamed[name] = value
    return renamed


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('convert_official', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_motion_module_becomes_a_block(tool, tmp_path, suffix):
    name = 'rldx_motion_cosine_lite_n2_L3'
    source, out = tmp_path / f'rldx{suffix}', tmp_path / 'out.pth'
    state = weights(name, RLDX)
    save_file(state, source) if suffix != '.pth' else torch.save(state, source)
    tool.convert(source, out, 'moss', None)
    converted = torch.load(out, weights_only=True)
    config = Config.fromstring(converted['meta']['cfg'], '.py').block
    assert config.type == 'MOSSBlock'
    block = MODELS.build(config).eval()
    block.load_state_dict(converted['state_dict'])

    meta, values = golden(name)
    height, width = meta['grid_sizes'][0][1:]
    x, y = (
        values[key].unflatten(0, (-1, height, width)).permute(0, 3, 1, 2)
        for key in ('x', 'eval:y')
    )
    with torch.no_grad():
        out = block(x, meta['grid_sizes'][0][0])
    torch.testing.assert_close(out, x + y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('old', [False, True])
def test_moss_block_of_other_width_becomes_the_sum(tool, tmp_path, old):
    name = 'moss_block_cosine_n2_L5'
    source, out = tmp_path / 'moss.pth', tmp_path / 'out.pth'
    state = weights(name, MOSS)
    torch.save(dict(state_dict=old_names(state) if old else state), source)
    tool.convert(source, out, 'moss', None)
    converted = torch.load(out, weights_only=True)
    config = Config.fromstring(converted['meta']['cfg'], '.py').block
    assert (config.type, config.orders) == ('HigherOrderSTSS', (1, 2))
    module = MODELS.build(config).eval()
    module.load_state_dict(converted['state_dict'])
    meta, values = golden(name)
    side = meta['side']
    x, y = (
        values[key].unflatten(0, (side, side)).permute(2, 3, 0, 1)
        for key in ('x', 'eval:y')
    )
    with torch.no_grad():
        out = module(x, meta['num_segments'])
    torch.testing.assert_close(out, y, rtol=1e-4, atol=1e-5)


def test_several_modules():
    one = weights('moss_block_cosine_n1_L5', MOSS)
    two = weights('moss_block_cosine_n1_L5', MOSS.replace('0.', '4.'))
    prefixes = ['visual.side_network.moss_layers.0.', MOSS.replace('0.', '4.')]
    assert list(find_motion_modules({**one, **two})) == prefixes
    with pytest.raises(ValueError, match=r'moss_layers\.4'):
        find_motion_module({**one, **two})
    assert find_motion_module({**one, **two}, prefixes[1])


def drop(state, end):
    return {name: value for name, value in state.items() if not name.endswith(end)}


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (lambda state: OTHERS, 'stss_encoders'),
        (lambda state: drop(state, '0.in_proj.weight'), 'in_proj.weight'),
        (lambda state: drop(state, '1.ln_pre.bias'), 'missing: .*1.ln_pre.bias'),
        (lambda state: {**state, f'{RLDX}out_proj.extra': torch.ones(1)}, 'unexpected'),
    ],
)
def test_incomplete_module(tool, tmp_path, change, text):
    source, out = tmp_path / 'rldx.pth', tmp_path / 'out.pth'
    torch.save(change(weights('rldx_motion_cosine_full_n2_L5', RLDX)), source)
    with pytest.raises(ValueError, match=text):
        tool.convert(source, out, 'moss', None)
    assert not out.exists()


@pytest.mark.parametrize(
    'options', [['--kind', 'moss', '--config', 'c.py'], ['--prefix', 'visual.']]
)
def test_options_that_do_not_apply(options):
    command = [sys.executable, TOOL, 'in.pth', 'out.pth', *options]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 2
    assert '--kind moss' in run.stderr
