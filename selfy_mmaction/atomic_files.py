# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Atomic file writes: a file is complete or absent, even if the process is killed."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Suffix of unfinished files. A killed process may leave some; no reader mistakes them
#: for complete files.
PARTIAL = '.partial'


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file to a temporary name and rename it when it is complete.

    The data are flushed to disk before the rename, so neither a kill nor a power
    failure leaves a partial file, and the old file survives until then. Creates parent
    folders. Keeps symbolic links and replaces their targets. Anything that is not a
    regular file (``/dev/stdout``, a pipe) is written in place.

    Args:
        path: The file to write.

    Yields:
        The temporary file to write instead, in the same folder.

    Raises:
        OSError: If the file cannot be written (no space left, no permission). The error
            names ``path``, and the temporary file is removed.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        yield path
        return
    # Truncate the name: the file's own may already have the maximum of 255 bytes. The
    # UUID keeps threads and processes that write the same file apart.
    partial = path.with_name(f'.{path.name[:40]}.{uuid.uuid4().hex[:12]}{PARTIAL}')
    try:
        if path.exists() and not os.access(path, os.W_OK):
            # os.replace would only require a writable folder.
            raise PermissionError(13, 'Permission denied', str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open('r+b') as file:
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, partial)
        os.replace(partial, path)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)
