# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.runner import CheckpointLoader

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'publish_checkpoint.py'
CONFIG = ROOT / 'configs' / 'motion' / 'selfy-tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'
NAMES = [f'Klasse ä {i}' for i in range(12)]


@pytest.fixture(scope='module')
def state():
    return MODELS.build(Config.fromfile(CONFIG).model).state_dict()


@pytest.fixture
def trained(state, tmp_path):
    """A training checkpoint, as mmengine saves it under DDP."""
    path = tmp_path / 'epoch_6.pth'
    content = dict(
        state_dict={f'module.{key}': value for key, value in state.items()},
        optimizer=dict(state={0: torch.zeros(1000)}),
        meta=dict(epoch=6, seed=3, dataset_meta=dict(classes=tuple(NAMES))),
    )
    torch.save(content, path)
    return path


def test_weights_classes_and_notes(run_script, trained, state, tmp_path, capsys):
    out = tmp_path / 'new folder' / 'ö.safetensors'
    run_script(TOOL, CONFIG, trained, out, '--note', 'a=b=c', 'license=MIT')
    assert f'{out} written' in capsys.readouterr().out
    loaded = CheckpointLoader.load_checkpoint(str(out))
    assert set(loaded['state_dict']) == set(state)
    assert all(torch.equal(loaded['state_dict'][key], state[key]) for key in state)
    meta = loaded['meta']
    assert meta['dataset_meta']['classes'] == tuple(NAMES)
    notes = meta['notes']
    found = [notes[key] for key in ('config', 'epoch', 'seed', 'a', 'license')]
    assert found == [CONFIG.name, '6', '3', 'b=c', 'MIT']
    assert 'selfy_mmaction 0.' in notes['versions']
    # The optimizer is not in the file.
    assert out.stat().st_size < trained.stat().st_size


def test_class_file_replaces_the_names_of_the_checkpoint(run_script, trained, tmp_path):
    names, out = tmp_path / 'classes.txt', tmp_path / 'a.safetensors'
    names.write_text('\n'.join('abcdefghijkl'))
    run_script(TOOL, CONFIG, trained, out, '--classes', names)
    meta = CheckpointLoader.load_checkpoint(str(out))['meta']
    assert ''.join(meta['dataset_meta']['classes']) == 'abcdefghijkl'


def refuse(run_script, *args, match):
    with pytest.raises(SystemExit, match=match):
        run_script(TOOL, *args)


def test_wrong_input(run_script, trained, tmp_path):
    out = tmp_path / 'a.safetensors'
    names = tmp_path / 'classes.txt'
    names.write_text('one\ntwo\n')
    other = CONFIG.with_name('tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py')
    refuse(run_script, CONFIG, trained, tmp_path / 'a.pth', match='must end in')
    refuse(run_script, CONFIG, tmp_path / 'none.pth', out, match='can not be found')
    refuse(run_script, tmp_path / 'none.py', trained, out, match='not published')
    refuse(run_script, other, trained, out, match='which the network lacks')
    refuse(
        run_script, CONFIG, trained, out, '--classes', names, match='12 classes.* 2 cl'
    )
    refuse(run_script, CONFIG, trained, out, '--note', 'a', match='NAME=TEXT')
    refuse(run_script, CONFIG, trained, out, '--note', 'a=1', 'a=2', match='twice')
    refuse(run_script, CONFIG, trained, out, '--note', 'classes=', match='called')
    assert not out.exists()


def test_published_file_can_be_published_again(run_script, trained, tmp_path):
    first, second = tmp_path / 'a.safetensors', tmp_path / 'b.safetensors'
    run_script(TOOL, CONFIG, trained, first)
    refuse(run_script, CONFIG, first, first, match='would overwrite')
    run_script(TOOL, CONFIG, first, second)
    state = [CheckpointLoader.load_checkpoint(str(f))['meta'] for f in (first, second)]
    assert state[0]['notes']['sha256'] == state[1]['notes']['sha256']
