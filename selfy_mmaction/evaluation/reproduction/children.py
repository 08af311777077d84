# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Processes that are started, watched and ended by this one."""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

_SECONDS_TO_END = 10


class Child:
    """Command that runs in a session of its own, with its output in a file.

    Ctrl-C in a terminal does not reach it; :meth:`stop` ends it and its workers.

    Args:
        command: The command.
        log: File to which its output is appended.
        environment: Variables to add to the environment.
        held: File that it keeps open, and thereby locked.

    Attributes:
        wall_seconds: Duration, once it has ended.
        cpu_seconds: CPU time of it and its workers, once it has ended.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        held: TextIO,
    ) -> None:
        self.log = log
        self.wall_seconds = self.cpu_seconds = 0.0
        self._began = time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open('a', encoding='utf-8') as output:
            output.write(f'$ {shlex.join(command)}\n')
            output.flush()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                pass_fds=[held.fileno()],
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """Return the exit code, or None while the command runs."""
        if self._process.returncode is None:
            pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                self.wall_seconds = time.monotonic() - self._began
                self.cpu_seconds = usage.ru_utime + usage.ru_stime
                self._process.returncode = os.waitstatus_to_exitcode(status)
        return self._process.returncode

    def signal(self, number: int) -> None:
        """Send a signal to the command and its workers."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def last_lines(self, number: int = 15) -> str:
        """Return the end of the output."""
        text = self.log.read_text(encoding='utf-8', errors='replace')
        return '\n'.join(text.splitlines()[-number:])


def stop(children: Sequence[Child]) -> None:
    """End commands, with force if they do not end in time."""
    for child in children:
        child.signal(signal.SIGTERM)
    end = time.monotonic() + _SECONDS_TO_END
    while any(child.poll() is None for child in children):
        if time.monotonic() > end:
            for child in children:
                child.signal(signal.SIGKILL)
        time.sleep(0.05)
