# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import pickle

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader, load_checkpoint

from selfy_mmaction.compat.damaged_checkpoints import find_damage


def test_empty_file_is_named_only_with_the_workaround(symptoms):
    seen = symptoms['damaged_checkpoints']
    assert seen['before'].startswith('EOFError: ')
    assert 'epoch_1.pth' not in seen['before']
    assert 'epoch_1.pth is empty (0 bytes)' in seen['after']


@pytest.fixture
def path(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=dict(weight=torch.arange(10000.0))), path)
    return path


def load(path):
    return CheckpointLoader.load_checkpoint(str(path), 'cpu')


def test_intact_file_loads(path):
    assert find_damage(path) is None
    assert torch.equal(load(path)['state_dict']['weight'], torch.arange(10000.0))


@pytest.mark.parametrize('part', [0.1, 0.5, 0.99])
def test_truncated_file_is_named(part, path):
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(RuntimeError, match=r'epoch_1\.pth is truncated'):
        load(path)


@pytest.mark.parametrize('part', [0.2, 0.5, 0.9])
def test_flipped_bit_is_found(part, path):
    data = bytearray(path.read_bytes())
    data[int(part * len(data))] ^= 1
    path.write_bytes(data)
    torch.load(path)  # torch does not notice
    with pytest.raises(RuntimeError, match=r'epoch_1\.pth is damaged: Bad CRC-32'):
        load(path)


def test_all_ways_to_load_a_file_verify_it(path):
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(RuntimeError, match='is truncated'):
        load_checkpoint(torch.nn.Linear(1, 1), str(path))
    module = BaseModule(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    with pytest.raises(RuntimeError, match='is truncated'):
        module.init_weights()


def test_files_without_checksums_load(path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(dict(weight=torch.ones(3)), path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert load(path)['weight'].tolist() == [1, 1, 1]


def test_files_of_older_torch_load(path):
    torch.save(dict(weight=torch.ones(3)), path, _use_new_zipfile_serialization=False)
    assert load(path)['weight'].tolist() == [1, 1, 1]
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(RuntimeError, match=r'epoch_1\.pth cannot be read'):
        load(path)


def test_file_that_is_not_a_checkpoint_is_named(path):
    path.write_text('404: not found')
    with pytest.raises(pickle.UnpicklingError, match=r'epoch_1\.pth: Unsupported'):
        load(path)


def test_missing_file_raises_the_error_of_mmengine(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'none\.pth can not be found'):
        load(tmp_path / 'none.pth')
