# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import builtins
import errno
import os
import resource
import signal
from pathlib import Path

import mmengine
import pytest
import torch
from mmengine.evaluator import DumpResults
from mmengine.fileio import LocalBackend
from mmengine.hooks import checkpoint_hook
from tiny_training import CHECKPOINTS, make_runner


def test_file_is_lost_without_and_kept_with_the_workaround(symptoms):
    seen = symptoms['atomic_writes']
    assert seen['before'] == ''
    assert seen['after'] == 'old'


@pytest.fixture
def small_files():
    """Limit files to 100 kB, to simulate a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


WRITES = {
    'put': lambda path: LocalBackend().put(b'x' * 200_000, path),
    'put_text': lambda path: LocalBackend().put_text('x' * 200_000, path),
    'dump to JSON': lambda path: mmengine.dump(['x'] * 200_000, path, 'json'),
    'dump to pickle': lambda path: mmengine.dump(b'x' * 200_000, path, 'pkl'),
    'DumpResults': lambda path: DumpResults(path).compute_metrics([b'x' * 200_000]),
    'save_checkpoint': lambda path: mmengine.runner.save_checkpoint(
        dict(weight=torch.zeros(50_000)), path
    ),
}


@pytest.mark.parametrize('write', WRITES)
def test_failed_write_keeps_the_old_file(write, tmp_path, small_files):
    path = tmp_path / 'a.pkl'
    path.write_text('old')
    with pytest.raises(OSError, match=r"'.*a\.pkl'") as caught:
        WRITES[write](str(path))
    assert caught.value.errno == errno.EFBIG
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['a.pkl']


@pytest.mark.parametrize('write', WRITES)
def test_files_are_written(write, tmp_path):
    path = tmp_path / 'new' / 'a.pkl'
    WRITES[write](str(path))
    assert path.stat().st_size >= 200_000
    assert os.listdir(path.parent) == ['a.pkl']


@pytest.mark.parametrize('keep', [1, 2, -1])
def test_same_checkpoints_are_kept_as_without_the_workaround(keep, tmp_path):
    hook = dict(CHECKPOINTS, max_keep_ckpts=keep)
    make_runner(tmp_path, max_epochs=4, default_hooks=dict(checkpoint=hook)).train()
    kept = range(1, 5)[-keep if keep > 0 else 0 :]
    names = {f'epoch_{epoch}.pth' for epoch in kept} | {'best_batches_epoch_4.pth'}
    assert {path.name for path in tmp_path.glob('*.pth')} == names
    assert (tmp_path / 'last_checkpoint').read_text().endswith('/epoch_4.pth')


def test_named_checkpoint_is_complete_and_best_one_exists_at_any_time(
    tmp_path, monkeypatch
):
    seen = []
    change = {name: getattr(os, name) for name in ('replace', 'remove')}

    def watched(name):
        def call(*args):
            change[name](*args)
            pointer = tmp_path / 'last_checkpoint'
            if pointer.exists():
                torch.load(pointer.read_text())
                seen.append(sorted(path.name for path in tmp_path.glob('*.pth')))

        return call

    for name in change:
        monkeypatch.setattr(os, name, watched(name))
    make_runner(tmp_path).train()
    assert ['epoch_1.pth', 'epoch_2.pth'] in [names[-2:] for names in seen]
    best = [any('best' in name for name in names) for names in seen]
    assert all(best[best.index(True) :])


def test_hook_opens_only_last_checkpoint():
    # Everything that the module opens goes through the replacement.
    source = Path(checkpoint_hook.__file__).read_text()
    assert source.count('open(') == 1
    assert "open(save_file, 'w')" in source
    assert checkpoint_hook.open is not builtins.open
