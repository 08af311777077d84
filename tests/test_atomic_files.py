# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import errno
import os
import stat

import pytest

from selfy_mmaction.atomic_files import replacing


def test_old_file_exists_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with replacing(path) as partial:
        partial.write_text('ne')
        assert path.read_text() == 'old'
        partial.write_text('new')
    assert path.read_text() == 'new'
    assert os.listdir(tmp_path) == ['a.txt']


def test_errors_keep_the_old_file(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(TypeError), replacing(path) as partial:
        partial.write_text(None)
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['a.txt']


@pytest.mark.parametrize('name', ['epoch_3.pth', 'best_acc_top1_epoch_3.pth'])
def test_unfinished_file_is_not_mistaken_for_a_checkpoint(name, tmp_path):
    with replacing(tmp_path / name) as partial:
        partial.touch()
        assert not list(tmp_path.glob('*.pth'))


def test_full_disk_error_names_the_file(tmp_path):
    path = tmp_path / 'a.txt'
    with (
        pytest.raises(OSError, match=r"No space left on device: '.*a\.txt'") as caught,
        replacing(path),
    ):
        # As raised by write().
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.errno == errno.ENOSPC


def test_parent_folders_are_created(tmp_path):
    path = tmp_path / 'b' / 'c' / 'a.txt'
    with replacing(path) as partial:
        partial.write_text('new')
    assert path.read_text() == 'new'


def test_link_is_kept(tmp_path):
    target, link = tmp_path / 'target.txt', tmp_path / 'link.txt'
    target.write_text('old')
    link.symlink_to(target)
    with replacing(link) as partial:
        partial.write_text('new')
    assert link.is_symlink()
    assert target.read_text() == 'new'


def test_permissions_are_kept(tmp_path):
    path = tmp_path / 'a.txt'
    path.touch()
    path.chmod(0o640)
    with replacing(path) as partial:
        partial.write_text('new')
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_new_files_have_default_permissions(tmp_path):
    (tmp_path / 'default').touch()
    with replacing(tmp_path / 'new') as partial:
        partial.touch()
    assert (tmp_path / 'new').stat().st_mode == (tmp_path / 'default').stat().st_mode


def test_read_only_file_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    # Patched because root may write any file.
    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    with pytest.raises(PermissionError, match=r'a\.txt'), replacing(path) as partial:
        partial.write_text('new')
    assert path.read_text() == 'old'


def test_pipe_is_written_in_place(tmp_path):
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    with replacing(pipe) as partial:
        assert partial == pipe
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_longest_possible_name(tmp_path):
    path = tmp_path / ('ä' * 127)
    with replacing(path) as partial:
        partial.write_text('new')
    assert path.read_text() == 'new'
