# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Result of a run: one small JSON file."""

import json
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfy_mmaction.atomic_files import replacing
from selfy_mmaction.version import __version__

from ..dumps import Dump
from .benchmark import VAL, Benchmark
from .recipes import Recipe, Run

FORMAT = 1
"""Version of the form of the files."""

Result = dict[str, Any]


def measure_accuracies(
    dump: Dump, benchmark: Benchmark, controls: Iterable[str] = ()
) -> dict[str, dict[str, Any]]:
    """Compute the accuracies of predictions for all validation splits and controls.

    Args:
        dump: Predictions for the clips of all splits, one split after the other, then
            for those of ``'val'`` under each control.
        benchmark: The benchmark.
        controls: Names of the controls. Default: none.

    Returns:
        ``'splits'`` and ``'controls'``, which have by name accuracies from 0 to 1:

        - ``'accuracy'``: of the class with the highest score;
        - ``'story_accuracy'``: of the story of that class;
        - ``'order_accuracy'``: of the best class of the true story;
        - ``'accuracy_on_val'``, only of splits: on the clips of ``'val'`` with the same
          indices, which have the same motions;
        - ``'per_class'`` and ``'per_story'``: of the clips of each.

    Raises:
        ValueError: If the predictions are for other clips or classes.
    """
    parts = [*benchmark.splits, *controls]
    labels = [benchmark.labels(p if p in benchmark.splits else VAL) for p in parts]
    expected = [label for each in labels for label in each]
    if dump.labels.tolist() != expected:
        raise ValueError(
            f'{dump.path} has predictions for {len(dump.labels)} clips, which are not '
            f'the {len(expected)} validation clips of {benchmark.folder}'
        )
    if dump.scores.shape[1] != len(benchmark.classes):
        raise ValueError(
            f'{dump.path} has {dump.scores.shape[1]} scores per clip, but '
            f'{benchmark.folder} has {len(benchmark.classes)} classes; set num_classes '
            'in the config'
        )
    ends = np.cumsum([len(each) for each in labels])[:-1]
    scores = np.split(dump.scores, ends)
    found = {
        part: _measure(each, np.array(true), benchmark)
        for part, each, true in zip(parts, scores, labels, strict=True)
    }
    clean = scores[parts.index(VAL)].argmax(1) == benchmark.labels(VAL)
    for split, clips in benchmark.splits.items():
        found[split]['accuracy_on_val'] = _mean(clean[:clips])
    return {
        'splits': {split: found[split] for split in benchmark.splits},
        'controls': {control: found[control] for control in controls},
    }


def _measure(
    scores: np.ndarray, labels: np.ndarray, benchmark: Benchmark
) -> dict[str, Any]:
    partners = benchmark.num_partners
    predicted, stories = scores.argmax(1), labels // partners
    hits = predicted == labels
    by_story = scores.reshape(len(scores), -1, partners)
    orders = by_story[np.arange(len(scores)), stories].argmax(1)
    return {
        'clips': len(labels),
        'accuracy': _mean(hits),
        'story_accuracy': _mean(predicted // partners == stories),
        'order_accuracy': _mean(orders == labels % partners),
        'per_story': {
            name: _mean(hits[stories == index])
            for index, name in enumerate(benchmark.stories)
        },
        'per_class': {
            name: _mean(hits[labels == index])
            for index, name in enumerate(benchmark.classes)
        },
    }


def _mean(hits: np.ndarray) -> float | None:
    return round(float(hits.mean()), 6) if hits.size else None


def device_name() -> str:
    """Return the kind of device that runs use: a GPU's name or ``'cpu'``."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu'


def make_result(
    run: Run,
    benchmark: Benchmark,
    accuracies: dict[str, Any],
    costs: dict[str, int],
    seconds: dict[str, float | None],
    jobs: int,
) -> Result:
    """Collect what is stored about a finished run.

    Args:
        run: The run.
        benchmark: The benchmark.
        accuracies: Result of :func:`measure_accuracies`.
        costs: Parameters and multiply-adds.
        seconds: Durations; None if unknown.
        jobs: Number of runs at a time.
    """
    return {
        'format': FORMAT,
        'config': run.recipe.config,
        'config_sha256': run.recipe.digest,
        'seed': run.seed,
        'variant': run.variant,
        'learning_rate': run.learning_rate,
        'epochs': run.recipe.epochs,
        'benchmark': dict(benchmark.identity),
        **costs,
        **seconds,
        'jobs': jobs,
        'device': device_name(),
        'versions': {
            'selfy_mmaction': __version__,
            'torch': torch.__version__,
            'numpy': np.__version__,
            'python': platform.python_version(),
        },
        **accuracies,
    }


class Results:
    """Results of one benchmark in a folder.

    Args:
        folder: Folder of the results of the preset.
        benchmark: The benchmark.
    """

    def __init__(self, folder: Path, benchmark: Benchmark) -> None:
        self.folder = folder
        self.benchmark = benchmark
        self._known: dict[Run, Result] = {}

    def path(self, run: Run) -> Path:
        """Return the file of a run."""
        return self.folder / 'runs' / f'{run.name}.json'

    def stored(self, recipe: Recipe, rates: Sequence[float]) -> list[Run]:
        """List the runs of a config that have a file, with any seed.

        Args:
            recipe: The config.
            rates: Learning rates.
        """
        runs = []
        for rate in rates:
            end = self.path(Run(recipe, 0, rate)).name.removeprefix('seed-0')
            for path in (self.folder / 'runs' / recipe.name).glob(f'seed-*{end}'):
                seed = path.name.removeprefix('seed-').removesuffix(end)
                if seed.isdecimal():
                    runs.append(Run(recipe, int(seed), rate))
        return sorted(runs, key=lambda run: run.seed)

    def get(self, run: Run) -> Result | None:
        """Read the result of a run, or return None if it is not finished.

        Raises:
            ValueError: If the file is damaged, or belongs to another config or other
                clips.
        """
        if run not in self._known and self.path(run).exists():
            self._known[run] = self._read(run)
        return self._known.get(run)

    def add(self, run: Run, result: Result) -> None:
        """Store the result of a run."""
        with replacing(self.path(run)) as partial:
            text = json.dumps(result, indent=1, ensure_ascii=False)
            partial.write_text(text + '\n', encoding='utf-8')
        self._known[run] = result

    def _read(self, run: Run) -> Result:
        path = self.path(run)
        try:
            result = json.loads(path.read_text(encoding='utf-8'))
            found = {
                'format': result['format'],
                'config_sha256': result['config_sha256'],
                'seed': result['seed'],
                'learning_rate': result['learning_rate'],
                **{f'benchmark {k}': v for k, v in result['benchmark'].items()},
            }
            for split in self.benchmark.splits:
                float(result['splits'][split]['accuracy'])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f'{path} is damaged ({type(error).__name__}: {error}); delete it to '
                'run this again'
            ) from error
        expected = {
            'format': FORMAT,
            'config_sha256': run.recipe.digest,
            'seed': run.seed,
            'learning_rate': run.learning_rate,
            **{f'benchmark {k}': v for k, v in self.benchmark.identity.items()},
        }
        for what, value in expected.items():
            if found.get(what) != value:
                raise ValueError(
                    f'{path} is not a result of {run.recipe.config} on '
                    f'{self.benchmark.folder} as they are now: its {what} is '
                    f'{found.get(what)}, expected {value}. Restore the config or the '
                    'clips, delete the file to run this again, or choose another '
                    '--results'
                )
        return result


def check_results(results: Results, recipes: Iterable[Recipe]) -> None:
    """Check all stored results of configs.

    Raises:
        ValueError: If some are refused; the message has all of them.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from selfy_mmaction.evaluation.reproduction import (
        ...     benchmark, recipes, results, rows
        ... )
        >>> table = rows.read_tables(rows.default_configs())['table4a_similarity']
        >>> (recipe,) = recipes.read_recipes(table.rows[:1]).values()
        >>> data = benchmark.Benchmark(Path('data'), dict(preset='tiny'), dict(val=16))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     stored = results.Results(Path(folder), data)
        ...     stored.add(recipes.Run(recipe, 0, recipe.learning_rate), {})
        ...     results.check_results(results.Results(Path(folder), data), [recipe])
        Traceback (most recent call last):
            ...
        ValueError: ... is damaged (KeyError: 'format'); delete it to run this again
    """
    problems = []
    for recipe in recipes:
        rates = {recipe.learning_rate, *recipe.learning_rates}
        for run in results.stored(recipe, sorted(rates)):
            try:
                results.get(run)
            except ValueError as error:
                problems.append(str(error))
    if problems:
        raise ValueError('\n'.join(problems))
