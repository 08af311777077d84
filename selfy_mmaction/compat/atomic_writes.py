# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmengine truncates files before writing, and removes checkpoints before saving."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook, checkpoint_hook

from selfy_mmaction.atomic_files import replacing

from . import wrap_once


def apply_atomic_writes() -> bool:
    """Keep checkpoints and dumps complete if the process is killed.

    Checkpoints and ``mmengine.dump`` (also ``test.py --dump``) are written through
    ``LocalBackend``; ``CheckpointHook`` itself writes ``last_checkpoint``, after the
    checkpoint that it names. Checkpoints that exceed ``max_keep_ckpts`` or that
    ``save_best`` replaces are removed after the next one is complete, so the disk
    temporarily holds one more.

    Symptom: after a kill, or if the disk is full, ``last_checkpoint``, ``epoch_N.pth``
    or a dump is empty or truncated; with ``max_keep_ckpts=1`` no other checkpoint is
    left.

    Upstream: not reported.

    Delete when: the oldest supported mmengine writes to a temporary file, renames it,
    and only then removes old checkpoints.
    """
    if LocalBackend.put is _put:
        return False
    LocalBackend.put = _put
    LocalBackend.put_text = _put_text
    # last_checkpoint is the only file that this module opens.
    checkpoint_hook.open = _open_whole
    wrap_once(CheckpointHook, '_save_best_checkpoint', _save_best_then_remove)
    return wrap_once(CheckpointHook, '_save_checkpoint_with_step', _save_then_remove)


def _put(self: LocalBackend, obj: bytes, filepath: str | Path) -> None:
    with replacing(filepath) as partial, partial.open('wb') as file:
        file.write(obj)


def _put_text(
    self: LocalBackend, obj: str, filepath: str | Path, encoding: str = 'utf-8'
) -> None:
    with replacing(filepath) as partial, partial.open('w', encoding=encoding) as file:
        file.write(obj)


@contextmanager
def _open_whole(path: str, mode: str) -> Iterator[IO]:
    with replacing(path) as partial, partial.open(mode) as file:
        yield file


def _remove(backend: Any, path: str) -> None:
    if backend.isfile(path):
        backend.remove(path)
    elif backend.isdir(path):
        # DeepSpeed checkpoints are folders.
        backend.rmtree(path)


def _save_then_remove(
    method: Callable, self: CheckpointHook, runner: Any, step: int, meta: dict
) -> None:
    # The new best checkpoint is complete, and the one saved now will record it.
    _remove_previous_best(self)
    if self.max_keep_ckpts <= 0:
        method(self, runner, step, meta)
        return
    # With room for one more, mmengine removes none. The new checkpoint still lists the
    # oldest one: if the process is killed before that is removed, mmengine removes it
    # after resuming.
    limit = self.max_keep_ckpts
    self.max_keep_ckpts = limit + 1
    self.keep_ckpt_ids = deque(self.keep_ckpt_ids, limit + 1)
    try:
        method(self, runner, step, meta)
    finally:
        self.max_keep_ckpts = limit
    while len(self.keep_ckpt_ids) > limit:
        name = self.filename_tmpl.format(self.keep_ckpt_ids.popleft())
        if is_main_process():
            path = self.file_backend.join_path(self.out_dir, name)
            _remove(self.file_backend, path)
    self.keep_ckpt_ids = deque(self.keep_ckpt_ids, limit)
    runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))


class _RemovesLater:
    """File backend that records what to remove later."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.paths = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self.paths.append(path)

    rmtree = remove


def _save_best_then_remove(
    method: Callable, self: CheckpointHook, runner: Any, metrics: dict
) -> None:
    self.file_backend = _RemovesLater(self.file_backend)
    try:
        method(self, runner, metrics)
        _remove_previous_best(self)
    finally:
        if isinstance(self.file_backend, _RemovesLater):
            self.file_backend = self.file_backend.backend


def _remove_previous_best(hook: CheckpointHook) -> None:
    if not isinstance(hook.file_backend, _RemovesLater):
        return
    later, hook.file_backend = hook.file_backend, hook.file_backend.backend
    # An epoch that is validated again writes the same file.
    written = getattr(hook, 'best_ckpt_path_dict', {}).values()
    written = {os.path.realpath(path) for path in written if path}
    written.add(os.path.realpath(getattr(hook, 'best_ckpt_path', None) or ''))
    for path in later.paths:
        if os.path.realpath(path) not in written:
            _remove(hook.file_backend, path)
