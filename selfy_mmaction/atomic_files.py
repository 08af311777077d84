# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Files that are there whole or not at all, whenever the process is killed."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Ends the names of unfinished files. A killed process leaves them behind; no reader
#: takes one for a finished file.
PARTIAL = '.partial'


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file under another name; it takes its place when it is complete.

    Its data are on the disk before it gets its name, so that neither a kill nor a power
    failure leaves half a file, and the former file survives until then. Parent folders
    are made. A symbolic link stays one: its target is replaced. What is no regular file
    (``/dev/stdout``, a pipe) is written in place.

    Args:
        path: The file to write.

    Yields:
        Path: What to write instead, in the same folder.

    Raises:
        OSError: The file cannot be written (no space left, no permission); it names
            ``path``, and nothing unfinished is left.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        yield path
        return
    # The name is short whatever the file's: those of 255 bytes are legal. Two threads
    # or processes that write the same file do not meet.
    partial = path.with_name(f'.{path.name[:40]}.{uuid.uuid4().hex[:12]}{PARTIAL}')
    try:
        if path.exists() and not os.access(path, os.W_OK):
            # Replacing a file asks for a writable folder only.
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
