# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmengine truncates a file before it writes it, and removes before it saves."""

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


def close_atomic_writes() -> bool:
    """Let a kill at any moment leave whole checkpoints and dumps.

    Checkpoints, ``mmengine.dump`` and with it ``test.py --dump`` write through
    ``LocalBackend``; ``last_checkpoint`` is written by ``CheckpointHook`` itself, after
    the checkpoint that it names. Checkpoints that ``max_keep_ckpts`` and ``save_best``
    no longer keep are removed when the next one is complete, not before it is begun:
    for that time the disk holds one more.

    Symptom: after a kill, or with the disk full, an empty or cut ``last_checkpoint``,
    ``epoch_N.pth`` or dump; with ``max_keep_ckpts=1`` no other checkpoint is left.

    Upstream: not reported.

    Delete when: the oldest supported mmengine writes to another name, then renames, and
    removes old checkpoints after that.
    """
    if LocalBackend.put is _put:
        return False
    LocalBackend.put = _put
    LocalBackend.put_text = _put_text
    # The only file that this module opens is last_checkpoint.
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
        # Those of deepspeed.
        backend.rmtree(path)


def _save_then_remove(
    method: Callable, self: CheckpointHook, runner: Any, step: int, meta: dict
) -> None:
    # The best one is complete, and this one will say so.
    _remove_former_best(self)
    if self.max_keep_ckpts <= 0:
        method(self, runner, step, meta)
        return
    # With room for one more it removes none. The checkpoint lists the one that is
    # about to go: after a kill in between, mmengine removes it on resuming.
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
    """A file backend that remembers what is to be removed."""

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
        _remove_former_best(self)
    finally:
        if isinstance(self.file_backend, _RemovesLater):
            self.file_backend = self.file_backend.backend


def _remove_former_best(hook: CheckpointHook) -> None:
    if not isinstance(hook.file_backend, _RemovesLater):
        return
    later, hook.file_backend = hook.file_backend, hook.file_backend.backend
    # Validated once more, an epoch writes the same file.
    written = getattr(hook, 'best_ckpt_path_dict', {}).values()
    written = {os.path.realpath(path) for path in written if path}
    written.add(os.path.realpath(getattr(hook, 'best_ckpt_path', None) or ''))
    for path in later.paths:
        if os.path.realpath(path) not in written:
            _remove(hook.file_backend, path)
