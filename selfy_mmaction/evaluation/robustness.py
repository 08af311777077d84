# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Accuracy with one corrupted frame per clip (section 4.7, Fig. 5)."""

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

from .corruption_levels import Level, insert_transform, make_transform


class Network(NamedTuple):
    """Network to test.

    Attributes:
        name: Name in tables and figures.
        config: Config, changed by options.
        config_path: Path of the config.
        checkpoint: Path of the checkpoint.
        fingerprint: Fingerprint of model, data and checkpoint.
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
    """Read a network's config and check everything that could make its test fail.

    Args:
        name: Name in tables and figures.
        config_path: Path of the config.
        checkpoint: Path of the checkpoint.
        frame: Index of the frame to corrupt. Default: None, the center.
        options: Options that change the config. Default: None.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the config or the checkpoint is damaged, they do not match, the
            test pipeline does not support corruptions, or its clip length differs from
            the network's.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from selfy_mmaction import checkpoints
        >>> from selfy_mmaction.evaluation.robustness import prepare_network
        >>> name = 'selfy-tsn-r18-slim-motion'
        >>> files = checkpoints.packaged_config(name), checkpoints.packaged_path(name)
        >>> videos = dict(video=str(checkpoints.SAMPLE_CLIP.parent))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, 'test.txt').write_text('sample.mp4 0')
        ...     data = dict(ann_file=f'{folder}/test.txt', data_prefix=videos)
        ...     options = {'test_dataloader.dataset': data}
        ...     network = prepare_network('SELFYNet', *files, options=options)
        Loads checkpoint ...
        >>> network.name, Path(network.checkpoint).name
        ('SELFYNet', 'selfy-tsn-r18-slim-motion.safetensors')
    """
    for path in (config_path, checkpoint):
        if not Path(path).is_file():
            raise FileNotFoundError(f'{str(path)!r} of {name!r} does not exist')
    try:
        config = Config.fromfile(config_path)
        config.merge_from_dict(options or {})
        init_default_scope(config.get('default_scope', 'mmaction'))
        dataset_config = config.test_dataloader.dataset
        corrupted = insert_transform(
            dataset_config.pipeline, make_transform(Level('occlusion', 1), frame, 0)
        )
        pipeline = Compose(corrupted)
        _check_frame(pipeline, frame)
        dataset = DATASETS.build(dataset_config)
        model = MODELS.build(config.model)
        check_clip_lengths(model, pipeline, 'test pipeline')
        evaluator = config.test_evaluator
    except (OSError, ValueError) as error:
        raise ValueError(f'{config_path}: {error}') from error
    except Exception as error:  # the user's config may raise any error
        raise ValueError(
            f'{config_path} does not define a network that can be tested: '
            f'{type(error).__name__}: {error}'
        ) from error
    try:
        load_checkpoint(model, str(checkpoint), map_location='cpu', strict=True)
    except Exception as error:  # torch raises any error on a damaged file
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
        raise ValueError(
            'the test pipeline has no transform that samples frames, such as '
            'SampleFrames'
        )
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
    network: Network, transform: dict[str, Any] | None, work_dir: Path
) -> dict[str, float]:
    """Compute the metrics of a network in mmaction2's test loop.

    Args:
        network: Network to test.
        transform: Config of a transform for the test pipeline; None for clean
            clips.
        work_dir: Folder of the runner's logs.
    """
    config = copy.deepcopy(network.config)
    if transform is not None:
        dataset = config.test_dataloader.dataset
        dataset.pipeline = insert_transform(dataset.pipeline, transform)
    config.load_from = network.checkpoint
    config.work_dir = str(work_dir)
    config.launcher = 'none'
    config.log_level = 'WARNING'  # else each level prints the whole config
    # mmengine keeps loggers by name until the process ends.
    config.experiment_name = f'{work_dir.name}_{os.urandom(4).hex()}'
    runner = Runner.from_cfg(config)
    runner.register_hook(_ProgressHook())
    metrics = runner.test()
    print()
    return {name: float(value) for name, value in metrics.items()}


def read_results(path: Path) -> dict[str, dict[str, Any]]:
    """Read the results of earlier calls of :func:`run_levels`.

    Returns:
        Results by key; empty if the file does not exist.

    Raises:
        ValueError: If the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        results = json.loads(path.read_text())
        if not _are_results(results):
            raise ValueError('it has no metrics per level')
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
    """Test networks on all levels and skip finished tests.

    Args:
        networks: Results of :func:`prepare_network`.
        levels: Result of :func:`choose_levels`.
        out: Output folder. ``robustness.json`` is written there after each level; a
            result in it is reused if checkpoint, model, data, frame and seed are equal.
        metric: Metric to return. Default: ``'acc/top1'``.
        frame: Index of the frame to corrupt. Default: None, the center.
        seed: Seed of the angles of the motion blur. Default: 0.

    Returns:
        The metric in percent, by name of the network and level.

    Raises:
        OSError: If ``robustness.json`` cannot be written.
        ValueError: If the evaluator does not report the metric, or ``robustness.json``
            is damaged.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from selfy_mmaction import checkpoints
        >>> from selfy_mmaction.evaluation import corruption_levels, robustness
        >>> name = 'selfy-tsn-r18-slim-motion'
        >>> files = checkpoints.packaged_config(name), checkpoints.packaged_path(name)
        >>> videos = dict(video=str(checkpoints.SAMPLE_CLIP.parent))
        >>> levels = [corruption_levels.Level('occlusion', 1)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, 'test.txt').write_text('sample.mp4 0')
        ...     data = dict(ann_file=f'{folder}/test.txt', data_prefix=videos)
        ...     loader = dict(dataset=data, num_workers=0, persistent_workers=False)
        ...     options = dict(test_dataloader=loader)
        ...     network = robustness.prepare_network('Net', *files, options=options)
        ...     figures = robustness.run_levels([network], levels, Path(folder))
        Loads checkpoint ...
        [1/1] Net, occlusion 1: 40
        ...
        >>> list(figures['Net']) == levels
        True
    """
    path = out / 'robustness.json'
    results = read_results(path)
    _write_results(path, results)  # fail early if the file cannot be written
    figures = {network.name: {} for network in networks}
    todo = [(network, level) for network in networks for level in levels]
    for number, (network, level) in enumerate(todo, start=1):
        transform = make_transform(level, frame, seed)
        key = hashlib.sha256(
            (network.fingerprint + json.dumps(transform, sort_keys=True)).encode()
        ).hexdigest()[:16]
        title = f'[{number}/{len(todo)}] {network.name}, {level}'
        if key in results:
            print(f'{title}: already finished', flush=True)
        else:
            print(title, flush=True)
            results[key] = dict(
                model=network.name,
                config=network.config_path,
                checkpoint=network.checkpoint,
                corruption=level.corruption,
                level=level.level,
                step=transform,
                metrics=run_test(network, transform, out / 'logs'),
            )
            _write_results(path, results)
        metrics = results[key]['metrics']
        if metric not in metrics:
            raise ValueError(
                f'the test evaluator of {network.config_path} does not report '
                f'{metric!r}, only {", ".join(metrics)}'
            )
        figures[network.name][level] = 100 * metrics[metric]
    return figures


def _write_results(path: Path, results: dict[str, dict[str, Any]]) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(results, indent=2) + '\n')
