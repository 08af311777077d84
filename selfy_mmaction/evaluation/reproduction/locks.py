# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Locks of a work directory: one call at a time, after the runs of a killed one."""

import fcntl
import os
from pathlib import Path
from typing import TextIO


def lock_calls(work_dir: Path) -> TextIO:
    """Lock a work directory against other calls until the file is closed.

    Raises:
        RuntimeError: If another call uses it.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from selfy_mmaction.evaluation.reproduction.locks import lock_calls
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with lock_calls(Path(folder)), lock_calls(Path(folder)):
        ...         pass
        Traceback (most recent call last):
            ...
        RuntimeError: ... is used by process ...; wait until it ends, or ...
    """
    file = _open(work_dir / '.reproduce.lock')
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = file.read().strip() or 'another process'
        raise RuntimeError(
            f'{work_dir} is used by {owner}; wait until it ends, or choose another '
            '--work-dir'
        ) from None
    except OSError as error:
        print(f'{work_dir} cannot be locked ({error.strerror}): use it only once')
    file.truncate(0)
    file.write(f'process {os.getpid()}\n')
    file.flush()
    return file


def lock_runs(work_dir: Path) -> TextIO:
    """Lock a work directory, waiting for the runs of a killed call to end first.

    Returns:
        The lock. It is held until this process and all processes that inherit it have
        ended, because trainings continue when the call that started them is killed.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from selfy_mmaction.evaluation.reproduction.locks import lock_runs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with lock_runs(Path(folder)):
        ...         print([path.name for path in Path(folder).iterdir()])
        ['.runs.lock']
    """
    file = _open(work_dir / '.runs.lock')
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print('Waiting for runs of a killed call to end', flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        pass  # the file system does not support locks
    return file


def _open(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Do not truncate the file: another process may own it.
    file = path.open('a+', encoding='utf-8')
    file.seek(0)
    return file
