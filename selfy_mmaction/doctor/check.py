# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What a check says, and the order of checks in which one cause is one failure."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

OK = 'ok'
WARN = 'warn'
FAIL = 'FAIL'
NOT_CHECKED = '--'


class Check(NamedTuple):
    """Result of one check.

    Attributes:
        name: What was looked at.
        state: ``OK``; ``WARN`` when something optional will not work;
            ``FAIL`` when something needed will not; ``NOT_CHECKED`` when it cannot
            be told before an earlier failure is fixed.
        detail: What was found.
        fix: The command that fixes it. Default: ''.
    """

    name: str
    state: str
    detail: str
    fix: str = ''

    def __str__(self) -> str:
        line = f'{self.state:4}  {self.name:32}  {self.detail}'
        return f'{line}  ->  {self.fix}' if self.fix else line


class Step(NamedTuple):
    """A check that is to be done.

    Attributes:
        name: Its name, as other steps need it.
        check: Does it. Takes nothing, returns a :class:`Check`.
        needs: Earlier steps without which its result would only
            repeat theirs. Default: ().
    """

    name: str
    check: Callable[[], Check]
    needs: tuple[str, ...] = ()


def perform(steps: Iterable[Step]) -> list[Check]:
    """Do checks in order, except those that need one that failed.

    Args:
        steps: The checks. Each comes after those that it needs.
    """
    checks = []
    # By step, the failures that it cannot do without.
    causes: dict[str, list[str]] = {}
    for name, check, needs in steps:
        failed = list(dict.fromkeys(cause for need in needs for cause in causes[need]))
        if failed:
            done = Check(name, NOT_CHECKED, f'needs {", ".join(failed)}')
        else:
            done = check()
            failed = [name] if done.state == FAIL else []
        causes[name] = failed
        checks.append(done)
    return checks


def describe(error: BaseException) -> str:
    """Type and first line of an error, such as ``ImportError: no such name``."""
    first_line = (str(error).strip() or repr(error)).splitlines()[0]
    return f'{type(error).__name__}: {first_line}'
