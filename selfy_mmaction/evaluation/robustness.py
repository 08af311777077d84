# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Accuracy when one frame of each clip is corrupted (section 4.7, Fig. 5)."""

import copy
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.fileio import get
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint
from mmengine.utils import ProgressBar

from selfy_mmaction.atomic_files import replacing
from selfy_mmaction.engine.clip_length_check_hook import check_clip_lengths
from selfy_mmaction.engine.data_parts import clip_samplers

from .corruption_levels import Level, insert_step, make_step


class Network(NamedTuple):
    """A network to test.

    Attributes:
        name: What tables and figure call it.
        config: Its config, as read from the file and changed by options.
        config_path: The file.
        checkpoint: Its checkpoint.
        fingerprint: Of all that the accuracies depend on: model, data, checkpoint.
    """

    name: str
    config: Config
    config_path: str
    checkpoint: str
    fingerprint: str


def prepare_network(
    name: str,
    config_path: str | os.PathLike,
    checkpoint: str | os.PathLike,
    frame: int | None = None,
    options: dict[str, Any] | None = None,
) -> Network:
    """Read a network's config and check all that could stop its test.

    Args:
        name: What tables and figure call it.
        config_path: Its config.
        checkpoint: Its checkpoint.
        frame: Index of the frame to corrupt, None for the center.
        options: Options that change the config, if any.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: The config or the checkpoint is damaged, or they do not go together;
            or the test pipeline cannot be corrupted or gives clips of another length
            than the network's.
    """
    for path in (config_path, checkpoint):
        if not Path(path).is_file():
            raise FileNotFoundError(f'{str(path)!r} of {name!r} does not exist')
    try:
        config = Config.fromfile(config_path)
        config.merge_from_dict(options or {})
        init_default_scope(config.get('default_scope', 'mmaction'))
        dataset_config = config.test_dataloader.dataset
        corrupted = insert_step(
            dataset_config.pipeline, make_step(Level('occlusion', 1), frame, 0)
        )
        pipeline = Compose(corrupted)
        _check_frame(pipeline, frame)
        dataset = DATASETS.build(dataset_config)
        model = MODELS.build(config.model)
        check_clip_lengths(model, pipeline, 'test pipeline')
        evaluator = config.test_evaluator
    except (OSError, ValueError) as error:
        raise ValueError(f'{config_path}: {error}') from error
    except Exception as error:  # whatever is wrong in a file of the user's
        raise ValueError(
            f'{config_path} gives no network that can be tested: '
            f'{type(error).__name__}: {error}'
        ) from error
    try:
        load_checkpoint(model, str(checkpoint), map_location='cpu', strict=True)
    except Exception as error:  # whatever torch makes of a damaged file
        raise ValueError(
            f'{checkpoint} cannot be loaded into the network of {config_path}: '
            f'{type(error).__name__}: {error}'
        ) from error
    parts = [Path(checkpoint).read_bytes(), get(dataset.ann_file)]
    for part in (config.model, dataset_config, evaluator):
        text = json.dumps(part, sort_keys=True, default=str)
        parts.append(text.encode())
    digests = b''.join(hashlib.sha256(part).digest() for part in parts)
    fingerprint = hashlib.sha256(digests).hexdigest()
    return Network(name, config, str(config_path), str(checkpoint), fingerprint)


def _check_frame(pipeline: Compose, frame: int | None) -> None:
    samplers = clip_samplers(pipeline)
    if not samplers:
        raise ValueError('the test pipeline has no SampleFrames or the like')
    clip_len, num_clips = samplers[0].clip_len, samplers[0].num_clips
    length = clip_len if clip_len > 1 else num_clips
    if frame is not None and frame not in range(length):
        raise ValueError(
            f'frame {frame} does not exist in clips of {length} frames; choose 0 to '
            f'{length - 1}'
        )


class _ProgressHook(Hook):
    """Progress bar over the batches of a test."""

    def before_test(self, runner: Runner) -> None:
        self.bar = ProgressBar(len(runner.test_dataloader))

    def after_test_iter(self, runner: Runner, *args, **kwargs) -> None:
        self.bar.update()


def run_test(
    network: Network, step: dict[str, Any] | None, work_dir: Path
) -> dict[str, float]:
    """Metrics of a network by mmaction2's test loop.

    Args:
        network: The network.
        step: Step to insert into the test pipeline; None for clean clips.
        work_dir: Folder of the runner's logs.
    """
    config = copy.deepcopy(network.config)
    if step is not None:
        dataset = config.test_dataloader.dataset
        dataset.pipeline = insert_step(dataset.pipeline, step)
    config.load_from = network.checkpoint
    config.work_dir = str(work_dir)
    config.launcher = 'none'
    config.log_level = 'WARNING'  # else each level prints the whole config
    # Loggers and the like are kept by name for the life of the process.
    config.experiment_name = f'{work_dir.name}_{os.urandom(4).hex()}'
    runner = Runner.from_cfg(config)
    runner.register_hook(_ProgressHook())
    metrics = runner.test()
    print()
    return {name: float(value) for name, value in metrics.items()}


def read_results(path: Path) -> dict[str, dict[str, Any]]:
    """Results of earlier :func:`run_levels` by key; none if there is no file.

    Raises:
        ValueError: The file is damaged.
    """
    if not path.exists():
        return {}
    try:
        results = json.loads(path.read_text())
        if not _are_results(results):
            raise ValueError('it holds no metrics by level')
    except ValueError as error:
        raise ValueError(
            f'{path} is damaged ({error}); delete it to test all levels again'
        ) from error
    return results


def _are_results(results: Any) -> bool:
    return isinstance(results, dict) and all(
        isinstance(result, dict)
        and isinstance(result.get('metrics'), dict)
        and all(type(value) in (int, float) for value in result['metrics'].values())
        for result in results.values()
    )


def run_levels(
    networks: Sequence[Network],
    levels: Sequence[Level],
    out: Path,
    metric: str = 'acc/top1',
    frame: int | None = None,
    seed: int = 0,
) -> dict[str, dict[Level, float]]:
    """Test networks under all levels, leaving out what is finished.

    Args:
        networks: Results of :func:`prepare_network`.
        levels: Result of :func:`choose_levels`.
        out: Folder, in which ``robustness.json`` is written after each level. A result
            in it counts where checkpoint, model, data, frame and seed are the same.
        metric: Metric to return.
        frame: Index of the frame to corrupt, None for the center.
        seed: Seed of the blur's angles.

    Returns:
        The metric in percent, by network's name and level.

    Raises:
        OSError: The file cannot be written.
        ValueError: The evaluator does not give the metric, or the file is damaged.
    """
    path = out / 'robustness.json'
    results = read_results(path)
    _write_results(path, results)  # raises before long work
    figures = {network.name: {} for network in networks}
    todo = [(network, level) for network in networks for level in levels]
    for number, (network, level) in enumerate(todo, start=1):
        step = make_step(level, frame, seed)
        key = hashlib.sha256(
            (network.fingerprint + json.dumps(step, sort_keys=True)).encode()
        ).hexdigest()[:16]
        title = f'[{number}/{len(todo)}] {network.name}, {level}'
        if key in results:
            print(f'{title}: finished before', flush=True)
        else:
            print(title, flush=True)
            results[key] = dict(
                model=network.name,
                config=network.config_path,
                checkpoint=network.checkpoint,
                corruption=level.corruption,
                level=level.level,
                step=step,
                metrics=run_test(network, step, out / 'logs'),
            )
            _write_results(path, results)
        metrics = results[key]['metrics']
        if metric not in metrics:
            raise ValueError(
                f'the test evaluator of {network.config_path} gives no {metric!r}, but '
                f'{", ".join(metrics)}'
            )
        figures[network.name][level] = 100 * metrics[metric]
    return figures


def _write_results(path: Path, results: dict[str, dict[str, Any]]) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(results, indent=2) + '\n')
