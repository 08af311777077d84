# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Decoding a clip, optionally in a child process that may crash."""

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
    """Error raised if the files of a clip cannot be decoded."""


def reads_files(transform: Transform) -> bool:
    """Return whether a transform opens or decodes files.

    The name of its class decides, as in mmaction2.
    """
    name = type(transform).__name__
    return 'Init' in name or 'Decode' in name


def split_pipeline(
    transforms: Sequence[Transform],
) -> tuple[list[Transform], list[Transform]]:
    """Split a pipeline after its last transform that reads files."""
    reading = [i for i, transform in enumerate(transforms) if reads_files(transform)]
    end = reading[-1] + 1 if reading else 0
    return list(transforms[:end]), list(transforms[end:])


def read_clip(
    transforms: Sequence[Transform], info: dict[str, Any]
) -> dict[str, Any] | None:
    """Run the transforms that read a clip.

    Args:
        transforms: First part of :func:`split_pipeline`.
        info: Annotation of the clip from the dataset.

    Returns:
        The results with the decoded frames, or None if a transform returned None.

    Raises:
        UnreadableError: If a transform that reads files fails or finds no frames.
    """
    for transform in transforms:
        try:
            info = transform(info)
        except (ImportError, MemoryError):  # not the fault of the file
            raise
        except Exception as error:
            if not reads_files(transform):
                raise
            message = ' '.join(str(error).split())  # decoders write several lines
            raise UnreadableError(f'{type(error).__name__}: {message}') from error
        if info is None:  # as in mmengine's Compose
            return None
        if info.get('total_frames', 1) < 1:
            raise UnreadableError('it has no frames')
    return info


class ReadingProcess:
    """Child process that runs the transforms that read clips.

    On damaged files, decord 0.6 may also crash (segmentation fault on a truncated AVI)
    or hang while it holds the GIL (decord issue 373). Random states are passed to the
    process and back, so random draws equal those of :func:`read_clip`.

    Args:
        transforms: First part of :func:`split_pipeline`.
        timeout: Seconds after which a process that is still reading is killed.
    """

    def __init__(self, transforms: Sequence[Transform], timeout: float) -> None:
        self.transforms = transforms
        self.timeout = timeout
        self._owner = None

    def __getstate__(self) -> dict[str, Any]:
        return dict(transforms=self.transforms, timeout=self.timeout, _owner=None)

    def read(self, info: dict[str, Any]) -> dict[str, Any] | None:
        """Run :func:`read_clip` in the child process.

        Raises:
            UnreadableError: If a transform that reads files fails, the process dies or
                the timeout is exceeded.
            RuntimeError: If any other transform fails.
        """
        is_new = self._owner != os.getpid()  # one child per data loader worker
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
            if not is_new:  # an earlier clip may be to blame: retry in a new process
                return self.read(info)
            raise UnreadableError('the decoder crashed') from None
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
                os._exit(0)  # skip cleanup handlers, which belong to the parent
        connection.close()
        self._owner = os.getpid()

    def _serve(self, connection: Connection) -> None:
        # Python's handlers would not run while a decoder holds the GIL.
        for number in (signal.SIGALRM, signal.SIGSEGV, signal.SIGBUS):
            signal.signal(number, signal.SIG_DFL)
        while True:
            try:
                info, *states = connection.recv()
            except (EOFError, ConnectionError, KeyboardInterrupt):
                return  # the parent has exited
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
