# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Results of checks, and an order of checks in which one cause is one failure."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

OK = 'ok'
WARN = 'warn'
FAIL = 'FAIL'
NOT_CHECKED = '--'


class Check(NamedTuple):
    """Result of one check.

    Attributes:
        name: Name of the check.
        state: ``OK``; ``WARN`` if something optional will not work; ``FAIL`` if
            something required will not; ``NOT_CHECKED`` if an earlier failure has to be
            fixed first.
        detail: What was found.
        fix: The command that fixes the problem. Default: ''.
    """

    name: str
    state: str
    detail: str
    fix: str = ''

    def __str__(self) -> str:
        line = f'{self.state:4}  {self.name:32}  {self.detail}'
        return f'{line}  ->  {self.fix}' if self.fix else line


class Step(NamedTuple):
    """A check to run.

    Attributes:
        name: Name by which other steps refer to it.
        check: Function that runs the check.
        needs: Earlier steps whose failure would make this one fail, too. Default: ().
    """

    name: str
    check: Callable[[], Check]
    needs: tuple[str, ...] = ()


def perform(steps: Iterable[Step]) -> list[Check]:
    """Run checks in order, except those that need a failed one.

    Args:
        steps: The checks, each after those that it needs.
    """
    checks = []
    # Failed steps that each step depends on.
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
    """Return type and first line of an error, such as ``ImportError: no such name``."""
    first_line = (str(error).strip() or repr(error)).splitlines()[0]
    return f'{type(error).__name__}: {first_line}'
