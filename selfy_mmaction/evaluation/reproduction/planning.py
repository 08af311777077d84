# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Order of the runs, choice of learning rates and expected durations."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from .benchmark import VAL
from .recipes import Recipe, Run
from .results import Result

GetResult = Callable[[Run], Result | None]


@dataclass(frozen=True)
class Wanted:
    """Run of which the learning rate may not be known yet.

    Attributes:
        recipe: The config.
        seed: Seed.
        learning_rate: Learning rate; None for the best one of seed 0.
    """

    recipe: Recipe
    seed: int
    learning_rate: float | None

    @property
    def name(self) -> str:
        """Name of the run, as far as it is known."""
        if self.learning_rate is None:
            return f'{self.recipe.name}/seed-{self.seed}'
        return Run(self.recipe, self.seed, self.learning_rate).name


def plan(recipes: Iterable[Recipe], seeds: int) -> list[Wanted]:
    """List the runs: all rows with seed 0, then all with seed 1, and so on.

    A row with several learning rates has a run of each with seed 0.

    Example:
        >>> from selfy_mmaction.evaluation.reproduction import rows
        >>> from selfy_mmaction.evaluation.reproduction.planning import plan
        >>> from selfy_mmaction.evaluation.reproduction.recipes import read_recipes
        >>> table = rows.read_tables(rows.default_configs())['table4a_similarity']
        >>> recipes = read_recipes(table.rows[:2])
        >>> wanted = plan(recipes.values(), seeds=2)
        >>> [run.seed for run in wanted]
        [0, 0, 1, 1]
    """
    wanted = []
    for seed in range(seeds):
        for recipe in recipes:
            searched = recipe.learning_rates
            if not searched:
                rates: Sequence[float | None] = [recipe.learning_rate]
            else:
                rates = searched if seed == 0 else [None]
            wanted += [Wanted(recipe, seed, rate) for rate in rates]
    return wanted


def searched_runs(recipe: Recipe) -> list[Run]:
    """List the runs among which the learning rate is chosen."""
    return [Run(recipe, 0, rate) for rate in recipe.learning_rates]


def choose_learning_rate(recipe: Recipe, get: GetResult) -> float | None:
    """Choose the learning rate with the best accuracy on ``'val'`` with seed 0.

    Of equally good ones, the config's own is preferred, then the first.

    Args:
        recipe: The config.
        get: Returns the result of a run, or None.

    Returns:
        The learning rate; None if a run of the search is not finished.
    """
    if not recipe.learning_rates:
        return recipe.learning_rate
    accuracies = {}
    for run in searched_runs(recipe):
        result = get(run)
        if result is None:
            return None
        accuracies[run.learning_rate] = result['splits'][VAL]['accuracy']
    own = recipe.learning_rate
    return max(accuracies, key=lambda rate: (accuracies[rate], rate == own))


def resolve(wanted: Wanted, get: GetResult) -> Run | None:
    """Return the run, or None if its learning rate is not known yet."""
    rate = wanted.learning_rate
    if rate is None:
        rate = choose_learning_rate(wanted.recipe, get)
    return None if rate is None else Run(wanted.recipe, wanted.seed, rate)


class Durations:
    """Expected seconds of runs, from those of finished ones."""

    def __init__(self) -> None:
        self._known: dict[Recipe, list[float]] = {}

    def __bool__(self) -> bool:
        return bool(self._known)

    def learn(self, recipe: Recipe, result: Result, device: str) -> None:
        """Add a finished run, if it ran on this kind of device."""
        wall = result.get('wall_seconds')
        if wall is not None and result.get('device') == device:
            seconds = wall + (result.get('test_seconds') or 0)
            self._known.setdefault(recipe, []).append(seconds)

    def expected(self, recipe: Recipe) -> float | None:
        """Return the mean of the runs of a config, else of the slowest config.

        Returns:
            Seconds, or None if no run has finished yet.
        """
        if recipe in self._known:
            return fmean(self._known[recipe])
        return max(map(fmean, self._known.values()), default=None)
