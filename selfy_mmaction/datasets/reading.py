# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Reading a clip: which steps of a pipeline do it, and how to survive them."""

import os
import random
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

Transform = Callable[[dict[str, Any]], dict[str, Any]]


class UnreadableError(Exception):
    """The files of a clip cannot be decoded."""


def reads_files(transform: Transform) -> bool:
    """Whether a transform opens or decodes files, by mmaction2's own rule: its name."""
    name = type(transform).__name__
    return 'Init' in name or 'Decode' in name


def split_pipeline(
    transforms: Sequence[Transform],
) -> tuple[list[Transform], list[Transform]]:
    """Split a pipeline after the step that decodes."""
    reading = [i for i, transform in enumerate(transforms) if reads_files(transform)]
    end = reading[-1] + 1 if reading else 0
    return list(transforms[:end]), list(transforms[end:])


def read_clip(
    transforms: Sequence[Transform], info: dict[str, Any]
) -> dict[str, Any] | None:
    """Run the steps that read a clip, the first part of :func:`split_pipeline`.

    Args:
        transforms: The steps.
        info: What the dataset knows of the clip.

    Returns:
        The results, with the decoded frames; None if a step returned it.

    Raises:
        UnreadableError: A step that reads files failed, or found no frame.
    """
    for transform in transforms:
        try:
            info = transform(info)
        except (ImportError, MemoryError):  # nothing that the file could be blamed for
            raise
        except Exception as error:
            if not reads_files(transform):
                raise
            message = ' '.join(str(error).split())  # decoders' messages have lines
            raise UnreadableError(f'{type(error).__name__}: {message}') from error
        if info is None:  # as mmengine's Compose does
            return None
        if info.get('total_frames', 1) < 1:
            raise UnreadableError('no frame in it')
    return info


class ReadingProcess:
    """A child process that runs the steps that read clips.

    Damaged files do not only raise errors: decord 0.6 also ends the process on them
    (segmentation fault on a truncated AVI) or never returns, holding Python's lock
    (its issue 373). Random states travel with the clips, so that the draws are those of
    :func:`read_clip`.

    Args:
        transforms: First part of :func:`split_pipeline`.
        timeout: Seconds after which the system ends a process that is still reading.
    """

    def __init__(self, transforms: Sequence[Transform], timeout: float) -> None:
        self.transforms = transforms
        self.timeout = timeout
        self._owner = None

    def __getstate__(self) -> dict[str, Any]:
        return dict(transforms=self.transforms, timeout=self.timeout, _owner=None)

    def read(self, info: dict[str, Any]) -> dict[str, Any] | None:
        """Results of :func:`read_clip`, which runs in the process.

        Raises:
            UnreadableError: A step that reads files failed, the process died or the
                time is over.
            RuntimeError: Another step failed.
        """
        is_new = self._owner != os.getpid()  # each worker of a data loader has its own
        if is_new:
            self._start()
        try:
            self._connection.send((info, np.random.get_state(), random.getstate()))
            results, unreadable, failure, *states = self._connection.recv()
        except (EOFError, ConnectionError):
            self._owner = None
            _, status = os.waitpid(self._child, 0)
            if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
                raise UnreadableError(f'not read after {self.timeout:g} s') from None
            if not is_new:  # what a clip before has left behind may be to blame
                return self.read(info)
            raise UnreadableError('the decoder ended its process') from None
        if unreadable:
            raise UnreadableError(unreadable)
        if failure:
            raise RuntimeError(f'a transform failed in the reading process:\n{failure}')
        np.random.set_state(states[0])
        random.setstate(states[1])
        return results

    def _start(self) -> None:
        self._connection, connection = Pipe()
        self._child = os.fork()
        if self._child == 0:
            self._connection.close()
            try:
                self._serve(connection)
            finally:
                os._exit(0)  # without the cleaning up that is the parent's
        connection.close()
        self._owner = os.getpid()

    def _serve(self, connection: Connection) -> None:
        # The system's own ways to end a process, which need no Python.
        for ending in (signal.SIGALRM, signal.SIGSEGV, signal.SIGBUS):
            signal.signal(ending, signal.SIG_DFL)
        while True:
            try:
                info, *states = connection.recv()
            except (EOFError, ConnectionError, KeyboardInterrupt):
                return  # the parent has ended
            np.random.set_state(states[0])
            random.setstate(states[1])
            results = unreadable = failure = None
            signal.setitimer(signal.ITIMER_REAL, self.timeout)
            try:
                results = read_clip(self.transforms, info)
            except UnreadableError as error:
                unreadable = str(error)
            except Exception:
                failure = traceback.format_exc()
            signal.setitimer(signal.ITIMER_REAL, 0)
            states = (np.random.get_state(), random.getstate())
            try:
                connection.send((results, unreadable, failure, *states))
            except Exception:  # results that cannot be pickled
                connection.send((None, None, traceback.format_exc(), *states))
