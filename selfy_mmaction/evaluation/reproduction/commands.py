# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Commands of mmaction2 that train and test a run, and the files that they write."""

import sys
from pathlib import Path

import torch
from mmengine.config import Config

from selfy_mmaction.atomic_files import replacing
from selfy_mmaction.datasets.transforms.control_frames import CONTROLS

from .recipes import Run


def training_command(run: Run, folder: Path, resume: bool) -> list[str]:
    """Return the command that trains a run.

    Args:
        run: The run.
        folder: Its work directory.
        resume: Whether to resume at the last checkpoint.
    """
    options = [f'randomness.seed={run.seed}']
    if run.variant:
        options.append(f'optim_wrapper.optimizer.lr={run.learning_rate}')
        options += [
            f'param_scheduler.{index}.eta_max={run.learning_rate}'
            for index in run.recipe.schedules
        ]
    return [
        *(sys.executable, '-m', 'selfy_mmaction.run', 'train', str(run.recipe.path)),
        *('--work-dir', str(folder), *(['--resume'] if resume else [])),
        *('--cfg-options', *options),
    ]


def testing_command(run: Run, folder: Path, config: Path) -> list[str]:
    """Return the command that tests the last epoch of a run.

    Args:
        run: The run.
        folder: Its work directory.
        config: Result of :func:`write_test_config`.
    """
    return [
        *(sys.executable, '-m', 'selfy_mmaction.run', 'test', str(config)),
        str(last_checkpoint(run, folder)),
        *('--work-dir', str(folder / 'test'), '--dump', str(dump_path(folder))),
    ]


def write_test_config(run: Run, folder: Path, clips: Path) -> Path:
    """Write the config that tests a run on the clips of all splits.

    If the run has controls, the clips of ``'val'`` follow, once for each control of
    ``ControlFrames``.

    Args:
        run: The run.
        folder: Its work directory.
        clips: Annotation list of the clips of all splits.

    Returns:
        The file.
    """
    config = Config.fromfile(run.recipe.path)
    dataset = config.test_dataloader.dataset
    datasets = [dict(dataset, ann_file=str(clips))]
    if run.recipe.has_controls:
        types = [step['type'] for step in dataset.pipeline]
        place = types.index('FormatShape')
        for control in CONTROLS:
            pipeline = list(dataset.pipeline)
            pipeline.insert(place, dict(type='ControlFrames', control=control))
            datasets.append(dict(dataset, pipeline=pipeline))
    config.test_dataloader.dataset = dict(type='ConcatDataset', datasets=datasets)
    path = folder / 'test_config.py'
    with replacing(path) as partial:
        partial.write_text(config.pretty_text, encoding='utf-8')
    return path


def dump_path(folder: Path) -> Path:
    """Return the file of the predictions in the work directory of a run."""
    return folder / 'predictions.pkl'


def last_checkpoint(run: Run, folder: Path) -> Path:
    """Return the checkpoint of the last epoch."""
    return folder / f'epoch_{run.recipe.epochs}.pth'


def trained_epochs(folder: Path) -> int:
    """Return the epoch of the newest checkpoint in a work directory, or 0."""
    stems = (path.stem.removeprefix('epoch_') for path in folder.glob('epoch_*.pth'))
    return max((int(stem) for stem in stems if stem.isdecimal()), default=0)


def is_checkpoint(path: Path) -> bool:
    """Return whether a file is a whole checkpoint.

    Example:
        >>> from pathlib import Path
        >>> import tempfile
        >>> import torch
        >>> from selfy_mmaction.evaluation.reproduction.commands import is_checkpoint
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, 'epoch_1.pth')
        ...     torch.save(dict(state_dict={}), path)
        ...     print(is_checkpoint(path))
        ...     _ = path.write_bytes(path.read_bytes()[:100])  # as after a kill
        ...     print(is_checkpoint(path))
        True
        False
    """
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except Exception:  # torch raises various errors for damaged files
        return False
    return isinstance(checkpoint, dict) and 'state_dict' in checkpoint
