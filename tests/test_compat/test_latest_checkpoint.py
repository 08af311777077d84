# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import os

import pytest
import torch
from mmengine.runner import find_latest_checkpoint

from selfy_mmaction.compat import latest_checkpoint


@pytest.fixture
def warnings(monkeypatch):
    messages = []
    monkeypatch.setattr(latest_checkpoint, '_warn', messages.append)
    return messages


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of three epochs, and the other files of a training."""
    for epoch in (2, 9, 10):
        save(tmp_path / f'epoch_{epoch}.pth')
    save(tmp_path / 'best_acc_top1_epoch_11.pth')
    (tmp_path / '.epoch_12.pth.0123456789ab.partial').write_text('half')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_10.pth'))
    return tmp_path


def save(path):
    torch.save(dict(meta=dict(epoch=1, iter=1), state_dict={}, message_hub={}), path)


def test_empty_name_is_returned_only_without_the_workaround(symptoms):
    seen = symptoms['latest_checkpoint']
    assert seen['before'] == ''
    assert seen['after'] == 'epoch_1.pth'


def test_checkpoint_named_in_last_checkpoint_is_used(folder, warnings):
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_9.pth'))
    assert find_latest_checkpoint(folder) == str(folder / 'epoch_9.pth')
    assert warnings == []


@pytest.mark.parametrize(
    ('content', 'problem'),
    [
        (b'', 'last_checkpoint is empty'),
        (b'\0' * 20, 'last_checkpoint is empty'),
        (b'work_dirs/a/epoch_11.pth', 'names work_dirs/a/epoch_11.pth, which does not'),
        (b'\xff\xfe', 'which does not exist'),
        (None, 'last_checkpoint is missing'),
    ],
)
def test_newest_checkpoint_is_used_if_last_checkpoint_is_damaged_or_missing(
    content, problem, folder, warnings
):
    pointer = folder / 'last_checkpoint'
    pointer.unlink()
    if content is not None:
        pointer.write_bytes(content)
    newest = str(folder / 'epoch_10.pth')
    assert find_latest_checkpoint(folder) == newest
    (message,) = warnings
    assert problem in message
    assert f'Resuming from {newest}' in message


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b'')


def not_a_checkpoint(path):
    torch.save(dict(weight=torch.zeros(1)), path)


def code(path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(path.parent / 'evil'),)

    torch.save(dict(meta=Evil()), path)


@pytest.mark.parametrize(
    ('damage', 'problem'),
    [
        (truncate, 'is truncated'),
        (empty, 'is empty'),
        (not_a_checkpoint, "has no 'meta'"),
        (code, 'cannot be read (UnpicklingError'),
    ],
)
def test_checkpoints_that_do_not_load_are_skipped(damage, problem, folder, warnings):
    damage(folder / 'epoch_10.pth')
    assert find_latest_checkpoint(folder) == str(folder / 'epoch_9.pth')
    (message,) = warnings
    assert f'{folder / "epoch_10.pth"} ' in message
    assert problem in message
    assert not (folder / 'evil').exists()


def test_error_if_no_checkpoint_loads(folder):
    for path in folder.glob('epoch_*.pth'):
        empty(path)
    with pytest.raises(RuntimeError, match='No checkpoint to resume') as caught:
        find_latest_checkpoint(folder)
    for epoch in (2, 9, 10):
        assert f'epoch_{epoch}.pth is empty' in str(caught.value)


def test_error_if_the_only_checkpoint_is_missing(tmp_path):
    (tmp_path / 'last_checkpoint').write_text('epoch_3.pth')
    with pytest.raises(RuntimeError, match='epoch_3.pth, which does not exist'):
        find_latest_checkpoint(tmp_path)


def test_folder_without_checkpoints_starts_from_scratch(tmp_path, warnings):
    assert find_latest_checkpoint(tmp_path) is None
    (message,) = warnings
    assert 'training starts from scratch' in message


def test_checkpoints_of_another_folder_and_name_are_found(tmp_path, warnings):
    # CheckpointHook(out_dir=..., filename_tmpl='net_{}.pth')
    out_dir = tmp_path / 'out'
    out_dir.mkdir()
    for number in (3, 4):
        save(out_dir / f'net_{number}.pth')
    empty(out_dir / 'net_4.pth')
    (tmp_path / 'last_checkpoint').write_text(str(out_dir / 'net_4.pth'))
    assert find_latest_checkpoint(tmp_path) == str(out_dir / 'net_3.pth')


def test_iteration_numbers_are_not_compared_with_epoch_numbers(folder, warnings):
    save(folder / 'iter_20000.pth')
    os.utime(folder / 'iter_20000.pth', (0, 0))
    (folder / 'last_checkpoint').unlink()
    assert find_latest_checkpoint(folder) == str(folder / 'epoch_10.pth')


@pytest.mark.parametrize('name', ['s3://bucket/epoch_3.pth', 'folder'])
def test_remote_paths_and_folders_are_left_to_mmengine(
    name, tmp_path, monkeypatch, warnings
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'last_checkpoint').write_text(name)
    assert find_latest_checkpoint(tmp_path) == name
    assert warnings == []
