# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import json

import pytest
import torch
from mmengine.runner import CheckpointLoader
from safetensors.torch import save_file

from selfy_mmaction.checkpoints.safetensors_files import write_safetensors

STATE = {
    'backbone.weight': torch.arange(6.0).reshape(2, 3).T,  # not contiguous
    'backbone.count': torch.tensor(3),
    'half': torch.tensor([0.1, float('inf')], dtype=torch.float16),
    'empty': torch.zeros(0, 4),
}
CLASSES = ['öffnen', 'a, "b"\tc', ' ', '右']


@pytest.fixture(params=['a.safetensors', 'ä b.SafeTensors'])
def path(request, tmp_path):
    return tmp_path / request.param


def test_round_trip(path):
    write_safetensors(path, STATE, CLASSES, dict(seed='0', command='a=b "c"'))
    loaded = CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    assert list(loaded) == ['state_dict', 'meta']
    assert set(loaded['state_dict']) == set(STATE)
    for name, value in loaded['state_dict'].items():
        assert torch.equal(value, STATE[name]), name
        assert value.dtype == STATE[name].dtype
    meta = loaded['meta']
    assert meta.pop('dataset_meta') == dict(classes=tuple(CLASSES))
    notes = meta.pop('notes')
    assert meta == {}
    assert len(notes.pop('sha256')) == 64
    assert notes == dict(format='pt', seed='0', command='a=b "c"')


def test_same_arguments_same_bytes(tmp_path):
    for name in 'ab':
        write_safetensors(tmp_path / name, STATE, CLASSES, dict(x='1', y='2'))
    assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()


def test_tensors_that_share_memory(path):
    write_safetensors(path, dict(a=STATE['half'], b=STATE['half']))
    loaded = CheckpointLoader.load_checkpoint(str(path))
    assert torch.equal(loaded['state_dict']['a'], loaded['state_dict']['b'])
    assert 'dataset_meta' not in loaded['meta']


def test_file_of_another_program(path):
    save_file(dict(weight=torch.ones(2)), path)
    loaded = CheckpointLoader.load_checkpoint(str(path), map_location=lambda s, _: s)
    assert loaded['meta'] == dict(notes={})
    assert torch.equal(loaded['state_dict']['weight'], torch.ones(2))


def damage(content: bytes, how: str) -> bytes:
    if how == 'empty':
        return b''
    if how == 'truncated':
        return content[:-1]
    if how == 'not safetensors':
        return b'PK\x03\x04' + content
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    'how', ['empty', 'truncated', 'not safetensors', 'flipped bit']
)
def test_damaged_file(path, how):
    write_safetensors(path, STATE)
    path.write_bytes(damage(path.read_bytes(), how))
    with pytest.raises(RuntimeError, match=r'damaged: .*copy this one'):
        CheckpointLoader.load_checkpoint(str(path))


def test_classes_that_are_not_json(path):
    save_file(dict(weight=torch.ones(2)), path, dict(classes='a, b'))
    with pytest.raises(RuntimeError, match='is damaged'):
        CheckpointLoader.load_checkpoint(str(path))


def test_missing_file(path):
    with pytest.raises(FileNotFoundError, match='does not exist'):
        CheckpointLoader.load_checkpoint(str(path))


def test_reserved_note(path):
    with pytest.raises(ValueError, match="cannot be called 'classes'"):
        write_safetensors(path, STATE, notes=dict(classes=json.dumps(CLASSES)))
    assert not path.exists()


@pytest.mark.parametrize(
    ('path', 'backend'),
    [
        ('s3://bucket/a.safetensors', 'load_from_ceph'),
        ('https://x.org/a.safetensors', 'load_from_http'),
        ('a.safetensors.pth', 'load_from_local'),
        ('C:\\nets\\a.safetensors', 'load_from_safetensors'),
    ],
)
def test_other_backends_keep_their_files(path, backend):
    assert CheckpointLoader._get_checkpoint_loader(path).__name__ == backend
