# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""One training at a time in a folder."""

import os
import socket
from pathlib import Path

from mmaction.registry import HOOKS
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from selfy_mmaction.atomic_files import PARTIAL

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@HOOKS.register_module()
class WorkDirLockHook(Hook):
    """Refuse to train where another process trains, and clean up after a killed one.

    Two trainings in one ``work_dir`` would replace each other's checkpoints. The first
    holds a lock on ``.training.lock`` there, which ends with the process, however it
    ends. It is a lock of the process, not of the file: workers do not inherit it, so
    that a killed training can be resumed at once. Where the file system has no locks,
    the log says so.

    Raises:
        RuntimeError: Another process trains there.
    """

    # Before CheckpointHook removes old checkpoints.
    priority = 'HIGHEST'

    def __init__(self) -> None:
        self._file = None

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Take the lock, remove what killed processes left unfinished."""
        folder = Path(runner.work_dir)
        if fcntl is None:
            return
        # Not truncated: it may be another's.
        file = (folder / '.training.lock').open('a+')
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            owner = file.read().strip() or 'another process'
            file.close()
            raise RuntimeError(
                f'{owner} is training in {folder}. Choose another folder (--work-dir), '
                'or wait for it to end.'
            ) from None
        except OSError as error:
            file.close()
            runner.logger.warning(
                f'{folder} cannot be locked ({error.strerror}): do not start two '
                'trainings there.'
            )
            return
        file.truncate(0)
        file.write(f'Process {os.getpid()} on {socket.gethostname()}\n')
        file.flush()
        self._file = file
        for name in ('*.pth', 'last_checkpoint'):
            for leftover in folder.glob(f'.{name}.{"?" * 12}{PARTIAL}'):
                runner.logger.info(f'Removing {leftover}, left by a killed training.')
                leftover.unlink(missing_ok=True)

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Release the lock."""
        if self._file is not None:
            self._file.close()
            self._file = None
