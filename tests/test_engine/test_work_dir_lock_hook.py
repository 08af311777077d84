# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import errno
import fcntl
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from mmaction.registry import HOOKS

from selfy_mmaction.engine import work_dir_lock_hook

# Locks the folder with the same system call, and forks a worker that outlives it.
LOCK_AND_WAIT = """
import fcntl, os, sys, time
file = open(sys.argv[1], 'a+')
fcntl.lockf(file, fcntl.LOCK_EX)
file.write('Process 1 on elsewhere')
file.flush()
if os.fork() == 0:
    time.sleep(60)
print('locked', os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that trains in the folder."""
    command = [sys.executable, '-c', LOCK_AND_WAIT, str(tmp_path / '.training.lock')]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline().startswith('locked')
    yield process
    os.killpg(process.pid, 9)
    process.wait()


@pytest.fixture
def runner(tmp_path):
    messages = []
    logger = SimpleNamespace(info=messages.append, warning=messages.append)
    return SimpleNamespace(work_dir=str(tmp_path), logger=logger, messages=messages)


@pytest.fixture
def hook(runner):
    hook = HOOKS.build(dict(type='WorkDirLockHook'))
    yield hook
    hook.after_train(runner)


def test_second_training_is_rejected_until_the_first_is_killed(hook, other, runner):
    with pytest.raises(RuntimeError, match=r'Process 1 on elsewhere is training in'):
        hook.before_train(runner)
    other.kill()
    other.wait()
    # Its worker is still running.
    hook.before_train(runner)
    assert runner.messages == []


def test_lock_names_its_owner_and_is_released(hook, runner, tmp_path):
    hook.before_train(runner)
    lock = tmp_path / '.training.lock'
    assert lock.read_text().startswith(f'Process {os.getpid()} on ')
    hook.after_train(runner)
    hook.before_train(runner)


def test_files_of_a_killed_training_are_removed(hook, runner, tmp_path):
    mine = [
        '.epoch_3.pth.0123456789ab.partial',
        '.last_checkpoint.0123456789ab.partial',
    ]
    others = ['epoch_2.pth', '.results.pkl.0123456789ab.partial', 'notes.partial']
    for name in mine + others:
        (tmp_path / name).touch()
    hook.before_train(runner)
    assert sorted(os.listdir(tmp_path)) == sorted([*others, '.training.lock'])
    assert len(runner.messages) == 2


def test_file_system_without_locks_triggers_a_warning(hook, runner, monkeypatch):
    def lockf(file, operation):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'lockf', lockf)
    hook.before_train(runner)
    assert 'cannot be locked (No locks available)' in runner.messages[0]


def test_windows(hook, runner, monkeypatch):
    monkeypatch.setattr(work_dir_lock_hook, 'fcntl', None)
    hook.before_train(runner)
