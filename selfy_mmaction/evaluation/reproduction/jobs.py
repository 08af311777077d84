# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""One run: training, test and result."""

import contextlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from mmengine.analysis import parameter_count
from mmengine.config import Config

from selfy_mmaction.atomic_files import replacing
from selfy_mmaction.datasets.transforms.control_frames import CONTROLS

from ..dumps import load_dump
from ..efficiency.costs import count_multiply_adds
from ..efficiency.networks import build_untrained, clip_shape
from .benchmark import Benchmark, join_lists
from .children import Child
from .commands import (
    dump_path,
    is_checkpoint,
    last_checkpoint,
    testing_command,
    trained_epochs,
    training_command,
    write_test_config,
)
from .recipes import Recipe, Run
from .results import Result, make_result, measure_accuracies
from .run_log import FAILED, FINISHED, INTERRUPTED, RESUMED, STARTED, RunLog


class Workplace:
    """What all runs share.

    Args:
        folder: Work directory.
        benchmark: The benchmark.
        log: List of everything that happens.
        held: Lock that the runs keep.
        jobs: Number of runs at a time.
    """

    def __init__(
        self,
        folder: Path,
        benchmark: Benchmark,
        log: RunLog,
        held: TextIO,
        jobs: int,
    ) -> None:
        self.folder = folder
        self.benchmark = benchmark
        self.log = log
        self.held = held
        self.jobs = jobs
        self.clips = folder / f'{benchmark.preset}_val.txt'
        self._costs: dict[Recipe, dict[str, int]] = {}
        join_lists(benchmark, self.clips)

    def run_folder(self, run: Run) -> Path:
        """Return the work directory of a run."""
        return self.folder / run.name

    def fraction_left(self, run: Run) -> float:
        """Return which part of the epochs of a run is left."""
        return 1 - trained_epochs(self.run_folder(run)) / run.recipe.epochs

    def costs(self, recipe: Recipe) -> dict[str, int]:
        """Count parameters and multiply-adds of a network."""
        if recipe not in self._costs:
            config = Config.fromfile(recipe.path)
            network = build_untrained(config)
            shape = clip_shape(config, network)
            self._costs[recipe] = {
                'parameters': int(parameter_count(network)['']),
                'multiply_adds': count_multiply_adds(network, shape),
            }
        return self._costs[recipe]

    def check_folder(self, run: Run) -> None:
        """Check that the work directory of a run, if it exists, is of the same run.

        Raises:
            ValueError: If it has checkpoints of another config or other clips.
        """
        path = self.run_folder(run) / 'run.json'
        if not path.exists():
            if trained_epochs(path.parent):
                raise ValueError(
                    f'{path.parent} has checkpoints, but no run.json: they are of '
                    'another program; choose another --work-dir'
                )
            return
        try:
            found = json.loads(path.read_text(encoding='utf-8'))
        except ValueError:
            found = None
        if found != self._identity(run):
            raise ValueError(
                f'{path.parent} has checkpoints of another version of '
                f'{run.recipe.config} or other clips; delete it, or choose another '
                '--work-dir'
            )

    def claim_folder(self, run: Run) -> None:
        """Record the run to which a work directory belongs."""
        path = self.run_folder(run) / 'run.json'
        if not path.exists():
            with replacing(path) as partial:
                text = json.dumps(self._identity(run), indent=1)
                partial.write_text(text + '\n', encoding='utf-8')

    def _identity(self, run: Run) -> dict:
        return {
            'config_sha256': run.recipe.digest,
            'seed': run.seed,
            'learning_rate': run.learning_rate,
            **self.benchmark.identity,
        }


class Job:
    """Run in progress; each :meth:`poll` moves it on.

    Args:
        run: The run.
        place: What all runs share.
        environment: Variables for its commands.

    Attributes:
        result: The result, once it is finished.
        problem: Why it failed, once it has.
    """

    def __init__(
        self, run: Run, place: Workplace, environment: Mapping[str, str]
    ) -> None:
        self.run = run
        self.result: Result | None = None
        self.problem: str | None = None
        self._place = place
        self._environment = environment
        self._folder = place.run_folder(run)
        self._training: Child | None = None
        self._test: Child | None = None
        place.check_folder(run)
        place.claim_folder(run)
        epochs = trained_epochs(self._folder)
        self.fraction_left = place.fraction_left(run)
        place.log.add(run, RESUMED if epochs else STARTED, from_epoch=epochs)
        if is_checkpoint(last_checkpoint(run, self._folder)):
            self._start_test()
        else:
            command = training_command(run, self._folder, resume=epochs > 0)
            self._training = self._start(command, 'train.log')

    @property
    def log(self) -> Path:
        """File with the output of the current command."""
        child = self._test or self._training
        assert child
        return child.log

    def poll(self) -> bool:
        """Move on if a command has ended, and return whether the run has ended."""
        try:
            return self._poll()
        except Exception as error:  # one run must not stop the others
            self._fail(f'{type(error).__name__}: {error}')
            return True

    def _poll(self) -> bool:
        child = self._test or self._training
        assert child
        code = child.poll()
        if code is None:
            return False
        if code != 0:
            what = 'test' if self._test else 'training'
            lines = child.last_lines()
            self._fail(f'{what} ended with exit code {code}:\n{lines}\n{child.log}')
        elif self._test is None:
            checkpoint = last_checkpoint(self.run, self._folder)
            if is_checkpoint(checkpoint):
                self._start_test()
                return False
            self._fail(f'training ended without a whole {checkpoint}')
        else:
            self._finish()
        return True

    def stop(self) -> list[Child]:
        """Record that the run is interrupted, and return the commands to stop."""
        children = [child for child in (self._training, self._test) if child]
        return [child for child in children if child.poll() is None]

    def record_interruption(self) -> None:
        """Record that the run was interrupted, once its commands have ended."""
        self._place.log.add(self.run, INTERRUPTED, **self._times())

    def _start(self, command: list[str], log: str) -> Child:
        path = self._folder / log
        return Child(command, path, self._environment, self._place.held)

    def _start_test(self) -> None:
        dump_path(self._folder).unlink(missing_ok=True)
        config = write_test_config(self.run, self._folder, self._place.clips)
        command = testing_command(self.run, self._folder, config)
        self._test = self._start(command, 'test.log')

    def _times(self) -> dict[str, float]:
        training = self._training
        return {
            'wall_seconds': round(training.wall_seconds, 1) if training else 0.0,
            'cpu_seconds': round(training.cpu_seconds, 1) if training else 0.0,
        }

    def _fail(self, problem: str) -> None:
        self.problem = problem
        with contextlib.suppress(OSError):  # the disk may be full
            self._place.log.add(self.run, FAILED, **self._times())

    def _finish(self) -> None:
        assert self._test
        try:
            dump = load_dump(dump_path(self._folder))
        except pickle.UnpicklingError as error:
            raise ValueError(f'the test wrote a damaged file: {error}') from error
        controls = CONTROLS if self.run.recipe.has_controls else ()
        accuracies = measure_accuracies(dump, self._place.benchmark, controls)
        costs = self._place.costs(self.run.recipe)
        self._place.log.add(self.run, FINISHED, **self._times())
        seconds = self._place.log.spent(self.run)
        seconds['test_seconds'] = round(self._test.wall_seconds, 1)
        self.result = make_result(
            self.run,
            self._place.benchmark,
            accuracies,
            costs,
            seconds,
            self._place.jobs,
        )
