# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Lock of the work directory, for one training at a time."""

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
    """Prevent two trainings in one ``work_dir``, and clean up after a killed one.

    Two trainings in one ``work_dir`` would overwrite each other's checkpoints. The
    first one locks ``.training.lock`` in it until its process ends for any reason.
    Workers do not inherit the lock, which belongs to the process, so a killed training
    can be resumed immediately. Warns if the file system does not support locks.

    Raises:
        RuntimeError: If another process trains in this folder.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from types import SimpleNamespace
        >>> from selfy_mmaction.engine import WorkDirLockHook
        >>> custom_hooks = [dict(type='WorkDirLockHook')]  # in a config
        >>> hook = WorkDirLockHook()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     hook.before_train(SimpleNamespace(work_dir=folder))
        ...     print(Path(folder, '.training.lock').read_text())
        ...     hook.after_train(None)
        Process ... on ...
    """

    # Run before CheckpointHook removes old checkpoints.
    priority = 'HIGHEST'

    def __init__(self) -> None:
        self._file = None

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Acquire the lock, and remove unfinished files of killed processes."""
        folder = Path(runner.work_dir)
        if fcntl is None:
            return
        # Do not truncate the file: another process may own it.
        file = (folder / '.training.lock').open('a+')
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            owner = file.read().strip() or 'another process'
            file.close()
            raise RuntimeError(
                f'{owner} is training in {folder}. Choose another folder (--work-dir) '
                'or wait until it ends.'
            ) from None
        except OSError as error:
            file.close()
            runner.logger.warning(
                f'{folder} cannot be locked ({error.strerror}): do not start two '
                'trainings in it.'
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
