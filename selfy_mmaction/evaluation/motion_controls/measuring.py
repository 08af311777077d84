# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Accuracy of the features on the splits of a generated benchmark."""

import json
import os
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.fileio import list_from_file
from mmengine.registry import init_default_scope
from mmengine.utils import track_parallel_progress, track_progress
from torch import Tensor

from selfy_mmaction.motion_benchmark.presets import get_preset

from .features import FEATURES
from .linear import LinearClassifier

# The frames that the configs test on.
_PIPELINE = [
    dict(type='DecordInit'),
    dict(
        type='SampleFrames', clip_len=1, frame_interval=1, num_clips=8, test_mode=True
    ),
    dict(type='DecordDecode'),
    dict(type='CenterCrop', crop_size=64),
]


def measure(
    data: str | os.PathLike, features: list[str], clips: int | None, workers: int
) -> dict[str, dict[str, float]]:
    """Train a linear classifier per feature and test it on every validation split.

    Args:
        data: Folder that ``tools/data/make_motion.py`` wrote.
        features: Names in ``FEATURES``.
        clips: Largest number of clips of each split, rounded down to whole groups of
            all classes; None for all.
        workers: Number of processes.

    Returns:
        Top-1 accuracy, from 0 to 1, by feature and split.

    Raises:
        OSError: If a file is missing.
        ValueError: If the folder is not a finished benchmark, or ``clips`` is too few.

    Example:
        >>> import tempfile
        >>> from selfy_mmaction.evaluation.motion_controls.measuring import measure
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     measure(folder, ['one frame'], clips=None, workers=1)
        Traceback (most recent call last):
            ...
        FileNotFoundError: ... generate the benchmark with ...
    """
    root = Path(data)
    splits, partners = _splits(root)
    classes = len(list_from_file(str(root / 'classes.txt')))
    if clips is not None and clips < 2 * classes:
        raise ValueError(
            f'--clips must be at least {2 * classes}, two per class, got {clips}'
        )
    values: dict[str, dict[str, Tensor]] = {}
    labels: dict[str, Tensor] = {}
    for split in splits:
        lines = list_from_file(str(root / f'{split}.txt'))
        count = len(lines) if clips is None else min(clips, len(lines))
        names, numbers = zip(
            *(line.rsplit(' ', 1) for line in lines[: count - count % classes]),
            strict=True,
        )
        labels[split] = torch.tensor([int(number) for number in numbers])
        print(f'{split}: {len(names)} clips')
        paths = [str(root / 'videos' / name) for name in names]
        extract = partial(_extract, features)
        if workers == 1:
            rows = track_progress(extract, paths)
        else:
            rows = track_parallel_progress(extract, paths, workers, chunksize=8)
        values[split] = {
            name: torch.from_numpy(np.stack(columns))
            for name, columns in zip(features, zip(*rows, strict=True), strict=True)
        }
    accuracies: dict[str, dict[str, float]] = {}
    for name in features:
        classifier = LinearClassifier(values['train'][name], labels['train'], partners)
        accuracies[name] = {}
        for split in splits:
            if split != 'train':
                hits = classifier.predict(values[split][name]) == labels[split]
                accuracies[name][split] = float(hits.double().mean())
    return accuracies


def _splits(root: Path) -> tuple[list[str], int]:
    """Return the names of the splits, and how many clips have the same frames."""
    record = root / 'motion.json'
    if not record.is_file():
        raise FileNotFoundError(
            f'{record} does not exist; generate the benchmark with '
            f'python tools/data/make_motion.py {root}'
        )
    try:
        written = json.loads(record.read_text(encoding='utf-8'))
        preset, splits = get_preset(written['preset']), list(written['clips'])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{record} is that of an unfinished or damaged benchmark '
            f'({type(error).__name__}: {error}); run tools/data/make_motion.py again'
        ) from error
    return splits, preset.num_partners


def _extract(features: list[str], path: str) -> list[np.ndarray]:
    cv2.setNumThreads(1)
    init_default_scope('mmaction')
    read = Compose(_PIPELINE)
    results = read(dict(filename=path, start_index=0, modality='RGB'))
    frames = np.stack(results['imgs'])
    return [np.float32(FEATURES[name](frames).ravel()) for name in features]
