# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What the reruns need to know about a config, and its runs."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from .rows import Row

# Where files are, how they are loaded and what is logged does not change a result.
_WITHOUT = {
    *('ann_file', 'data_prefix', 'data_root', 'work_dir', 'custom_imports'),
    *('num_workers', 'persistent_workers', 'default_hooks'),
    *('log_level', 'log_processor', 'vis_backends', 'visualizer'),
}
# Hooks that check, lock or resume.
_HARMLESS_HOOKS = re.compile('.*CheckHook|WorkDirLockHook|ExactResumeHook')


@dataclass(frozen=True)
class Recipe:
    """Config of a row.

    Attributes:
        config: Config as the metafile names it.
        path: Its file.
        digest: See :func:`digest`.
        learning_rate: Its learning rate.
        learning_rates: Learning rates to choose from; empty for its own.
        schedules: Indices of the schedules whose peak is the learning rate.
        epochs: Number of epochs.
        data: Folder of the benchmark.
        has_controls: See :class:`~.rows.Row`.
    """

    config: str
    path: Path
    digest: str
    learning_rate: float
    learning_rates: tuple[float, ...]
    schedules: tuple[int, ...]
    epochs: int
    data: Path
    has_controls: bool = False

    @property
    def name(self) -> str:
        """Name of the config without its suffix."""
        return self.path.stem


@dataclass(frozen=True)
class Run:
    """Training of a config with a seed.

    Attributes:
        recipe: The config.
        seed: Seed of all random numbers.
        learning_rate: Learning rate, the config's own or another one.
    """

    recipe: Recipe
    seed: int
    learning_rate: float

    @property
    def variant(self) -> str | None:
        """Difference from the config, such as ``'lr-0.002'``, or None."""
        if self.learning_rate == self.recipe.learning_rate:
            return None
        return f'lr-{self.learning_rate:g}'

    @property
    def name(self) -> str:
        """Unique name, such as ``'selfy-tsn/seed-0_lr-0.002'``."""
        variant = f'_{self.variant}' if self.variant else ''
        return f'{self.recipe.name}/seed-{self.seed}{variant}'


def read_recipe(row: Row) -> Recipe:
    """Read the config of a row.

    Raises:
        ValueError: If the config is damaged, or is not one that can be rerun.
    """
    try:
        config = Config.fromfile(row.path)
    except Exception as error:  # the config is a program and may raise any error
        raise ValueError(f'{row.path}: {type(error).__name__}: {error}') from error
    try:
        schedules = config.get('param_scheduler') or []
        schedules = schedules if isinstance(schedules, list) else [schedules]
        return Recipe(
            config=row.config,
            path=row.path,
            digest=digest(config),
            learning_rate=float(config.optim_wrapper.optimizer.lr),
            learning_rates=row.learning_rates,
            schedules=tuple(i for i, s in enumerate(schedules) if 'eta_max' in s),
            epochs=config.train_cfg.max_epochs,
            data=Path(config.test_dataloader.dataset.ann_file).parent,
            has_controls=row.has_controls,
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f'{row.path} cannot be rerun: it needs train_cfg.max_epochs, '
            'optim_wrapper.optimizer.lr and test_dataloader.dataset.ann_file '
            f'({error})'
        ) from error


def read_recipes(rows: list[Row]) -> dict[Path, Recipe]:
    """Read the configs of rows, which may share some.

    Returns:
        Recipes by file of the config.

    Raises:
        ValueError: As :func:`read_recipe`, or if two configs have the same name or
            configs use different data.

    Example:
        >>> from selfy_mmaction.evaluation.reproduction import rows
        >>> from selfy_mmaction.evaluation.reproduction.recipes import read_recipes
        >>> table = rows.read_tables(rows.default_configs())['table4a_similarity']
        >>> for path, recipe in read_recipes(table.rows[:2]).items():
        ...     print(path.name, recipe.epochs)
        tsn-r18-slim_1xb12-1x1x8-2e_stories-rgb.py 2
        selfy-tsn-r18-slim-offset-0_1xb12-1x1x8-2e_stories-rgb.py 2
    """
    recipes: dict[Path, Recipe] = {}
    for row in rows:
        if row.path not in recipes:
            recipes[row.path] = read_recipe(row)
    names: dict[str, Recipe] = {}
    for recipe in recipes.values():
        other = names.setdefault(recipe.name, recipe)
        if other is not recipe:
            raise ValueError(
                f'{recipe.config} and {other.config} have the same name, which is that '
                'of their results; rename one'
            )
        first = next(iter(recipes.values()))
        if recipe.data != first.data:
            raise ValueError(
                f'{recipe.config} uses the clips in {recipe.data}, but {first.config} '
                f'those in {first.data}; a table needs one benchmark'
            )
    return recipes


def digest(config: Config) -> str:
    """Compute the SHA-256 of what changes a result in a resolved config."""
    content = json.dumps(_what_matters(config.to_dict()), sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def _what_matters(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            str(key): _what_matters(value)
            for key, value in part.items()
            if key not in _WITHOUT
        }
    if isinstance(part, list | tuple):
        return [_what_matters(each) for each in part if not _is_harmless(each)]
    return part


def _is_harmless(part: Any) -> bool:
    return isinstance(part, dict) and bool(
        _HARMLESS_HOOKS.fullmatch(str(part.get('type')))
    )
