# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from collections.abc import Callable
from pathlib import Path

import pytest

from selfy_mmaction.evaluation.reproduction.benchmark import Benchmark, open_benchmark
from selfy_mmaction.evaluation.reproduction.recipes import Recipe, Run
from selfy_mmaction.motion_benchmark import make_motion


@pytest.fixture(scope='session')
def benchmark_of_stories(tmp_path_factory) -> Benchmark:
    """The smallest benchmark of stories: 4 classes and 8 clips per split."""
    out = tmp_path_factory.mktemp('stories') / 'data'
    make_motion(out, 'stories-tiny', workers=1)
    return open_benchmark(out)


@pytest.fixture
def make_recipe() -> Callable[..., Recipe]:
    def make(name: str = 'net', **changes) -> Recipe:
        values = dict(
            config=f'configs/{name}.py',
            path=Path(f'configs/{name}.py'),
            digest=f'digest of {name}',
            learning_rate=0.004,
            learning_rates=(),
            schedules=(0,),
            epochs=2,
            data=Path('data'),
        )
        return Recipe(**{**values, **changes})

    return make


@pytest.fixture
def make_run_result(benchmark_of_stories) -> Callable[..., dict]:
    """Make the result of a run with one accuracy for everything."""

    def make(run: Run, accuracy: float = 0.5, **changes) -> dict:
        names = 'accuracy', 'story_accuracy', 'order_accuracy', 'accuracy_on_val'
        return {
            'format': 1,
            'config_sha256': run.recipe.digest,
            'seed': run.seed,
            'learning_rate': run.learning_rate,
            'benchmark': dict(benchmark_of_stories.identity),
            'parameters': 1000,
            'multiply_adds': 1_000_000,
            'wall_seconds': 60.0,
            'cpu_seconds': 90.0,
            'test_seconds': 6.0,
            'device': 'cpu',
            'versions': {'selfy_mmaction': '1.2', 'torch': '3.4'},
            'splits': {
                split: dict.fromkeys(names, accuracy)
                for split in benchmark_of_stories.splits
            },
            **changes,
        }

    return make
