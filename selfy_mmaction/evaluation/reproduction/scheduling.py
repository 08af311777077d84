# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Runs side by side, within a budget of time."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

import torch

from .benchmark import VAL
from .children import stop
from .jobs import Job, Workplace
from .planning import Durations, Wanted, resolve
from .results import Results, device_name

_POLL_SECONDS = 0.2


def default_jobs() -> int:
    """Return the number of GPUs, or of CPU cores if there is none.

    Example:
        >>> from selfy_mmaction.evaluation.reproduction.scheduling import default_jobs
        >>> default_jobs() >= 1
        True
    """
    affinity = getattr(os, 'sched_getaffinity', None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    return torch.cuda.device_count() or cores or 1


def environments(jobs: int) -> list[dict[str, str]]:
    """Return the variables for the commands of each of several jobs.

    GPUs are dealt to the jobs in turn. Without one, each process uses one core.
    """
    count = torch.cuda.device_count()
    if not count:
        return [{'OMP_NUM_THREADS': '1'} for _ in range(jobs)]
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    names = visible.split(',') if visible else list(map(str, range(count)))
    return [{'CUDA_VISIBLE_DEVICES': names[job % count]} for job in range(jobs)]


class Scheduler:
    """Runs what is wanted and not finished.

    Args:
        wanted: The runs in their order; see ``planning.plan``.
        results: Results, to which new ones are added.
        place: What all runs share.
        end: Time at which the runs have to end, as of ``time.monotonic``; None for no
            limit.

    Raises:
        ValueError: If a work directory has checkpoints of something else.

    Attributes:
        failed: Names of the runs that failed.
        not_started: Names of the runs that were not started, with the reason.
    """

    def __init__(
        self,
        wanted: Sequence[Wanted],
        results: Results,
        place: Workplace,
        end: float | None = None,
    ) -> None:
        self.failed: list[str] = []
        self.not_started: dict[str, str] = {}
        self._results = results
        self._place = place
        self._end = end
        self._total = len(wanted)
        self._device = device_name()
        self._durations = Durations()
        self._slots: list[Job | None] = [None] * place.jobs
        self._environments = environments(place.jobs)
        self._began: dict[Job, float] = {}
        self._interrupted = False
        self._todo = list(wanted)
        self._finished = 0
        self._skip_finished()
        for each in self._todo:
            run = resolve(each, results.get)
            if run:
                place.check_folder(run)

    def run(self) -> None:
        """Run until nothing is left that can be started.

        Raises:
            KeyboardInterrupt: If the process is told to end; the runs have ended then.
        """
        print(
            f'runs: {self._total}, already finished: {self._finished}; '
            f'{self._place.jobs} at a time on {self._device}',
            flush=True,
        )
        with self._delayed_signals():
            try:
                while not self._interrupted:
                    self._start_runs()
                    if not any(self._slots):
                        break
                    time.sleep(_POLL_SECONDS)
                    self._poll_runs()
            finally:
                self._stop_runs()
        if self._interrupted:
            raise KeyboardInterrupt
        for each in self._todo:
            known = resolve(each, self._results.get)
            reason = 'the budget does not suffice' if known else 'its search has failed'
            self.not_started[each.name] = reason

    @contextmanager
    def _delayed_signals(self) -> Iterator[None]:
        """Only note a signal to end, so that it interrupts no write of a file."""

        def note(*_: object) -> None:
            self._interrupted = True

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.getsignal(number) for number in numbers}
        for number in numbers:
            if before[number] != signal.SIG_IGN:  # set by nohup
                signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _skip_finished(self) -> None:
        for wanted in list(self._todo):
            run = resolve(wanted, self._results.get)
            result = self._results.get(run) if run else None
            if run and result:
                self._todo.remove(wanted)
                self._finished += 1
                self._durations.learn(run.recipe, result, self._device)

    def _start_runs(self) -> None:
        for slot, job in enumerate(self._slots):
            if job is None and not self._interrupted:
                self._slots[slot] = self._start_next(self._environments[slot])

    def _start_next(self, environment: dict[str, str]) -> Job | None:
        for wanted in list(self._todo):
            run = resolve(wanted, self._results.get)
            if run is None or not self._fits(wanted):
                continue
            self._todo.remove(wanted)
            try:
                job = Job(run, self._place, environment)
            except (OSError, ValueError) as error:
                self._report_failure(run.name, str(error))
                continue
            self._began[job] = time.monotonic()
            print(f'started {run.name}, log in {job.log}', flush=True)
            return job
        return None

    def _fits(self, wanted: Wanted) -> bool:
        if self._end is None:
            return True
        seconds = self._expected(wanted)
        return time.monotonic() + seconds <= self._end

    def _expected(self, wanted: Wanted) -> float:
        known = self._durations.expected(wanted.recipe)
        if known is None:
            # At least as long as those that run, which is all that is known.
            now = time.monotonic()
            known = max((now - began for began in self._began.values()), default=0)
        run = resolve(wanted, self._results.get)
        return known * (self._place.fraction_left(run) if run else 1)

    def _poll_runs(self) -> None:
        for slot, job in enumerate(self._slots):
            if job is None or not job.poll():
                continue
            self._slots[slot] = None
            seconds = time.monotonic() - self._began.pop(job)
            problem = job.problem
            if job.result:
                try:
                    self._results.add(job.run, job.result)
                except OSError as error:
                    problem = f'its result was not written: {error}'
            if problem or not job.result:
                self._report_failure(job.run.name, problem or 'no result')
                continue
            self._finished += 1
            self._durations.learn(job.run.recipe, job.result, self._device)
            # It may be the last of a search, whose choice may have finished runs.
            self._skip_finished()
            accuracy = 100 * job.result['splits'][VAL]['accuracy']
            print(
                f'[{self._finished}/{self._total}] {job.run.name}: {accuracy:.1f} % on '
                f'{VAL} after {seconds / 60:.1f} min{self._time_left()}',
                flush=True,
            )

    def _report_failure(self, name: str, problem: str) -> None:
        self.failed.append(name)
        print(f'FAILED {name}: {problem}', flush=True)

    def _time_left(self) -> str:
        if not (self._todo or self._began) or not self._durations:
            return ''
        now = time.monotonic()
        running = 0.0
        for job, began in self._began.items():
            whole = self._durations.expected(job.run.recipe)
            if whole is not None:
                running += max(0.0, whole * job.fraction_left - (now - began))
        waiting = sum(self._expected(wanted) for wanted in self._todo)
        seconds = (running + waiting) / self._place.jobs
        hours, minutes = divmod(round(seconds / 60), 60)
        end = datetime.now() + timedelta(seconds=seconds)
        return f'; {hours}:{minutes:02} h left, until about {end:%H:%M}'

    def _stop_runs(self) -> None:
        jobs = [job for job in self._slots if job is not None]
        if not jobs:
            return
        print('\nStopping ' + ', '.join(job.run.name for job in jobs), flush=True)
        stop([child for job in jobs for child in job.stop()])
        for job in jobs:
            job.record_interruption()
