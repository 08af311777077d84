# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Commands of mmaction2 that train and test a run, and the files that they write."""

import sys
from pathlib import Path

import torch

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


def testing_command(run: Run, folder: Path, clips: Path) -> list[str]:
    """Return the command that tests the last epoch of a run.

    Args:
        run: The run.
        folder: Its work directory.
        clips: Annotation list of the clips.
    """
    return [
        *(sys.executable, '-m', 'selfy_mmaction.run', 'test', str(run.recipe.path)),
        str(last_checkpoint(run, folder)),
        *('--work-dir', str(folder / 'test'), '--dump', str(dump_path(folder))),
        *('--cfg-options', f'test_dataloader.dataset.ann_file={clips}'),
    ]


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
    """Return whether a file is a whole checkpoint."""
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except Exception:  # torch raises various errors for damaged files
        return False
    return isinstance(checkpoint, dict) and 'state_dict' in checkpoint
