# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmengine resumes from the file named in ``last_checkpoint`` without checking it."""

import logging
import os
import re
from pathlib import Path

import mmengine.runner
import torch
from mmengine.logging import print_log
from mmengine.runner import _flexible_runner, checkpoint, runner

from .damaged_checkpoints import find_damage

_HOLDERS = (mmengine.runner, checkpoint, runner, _flexible_runner)
_NUMBERED = re.compile(r'(.+_)(\d+)\.pth')
_ADVICE = (
    'name a checkpoint (--resume CHECKPOINT), or start over without --resume or in '
    'another folder (--work-dir)'
)


def apply_latest_checkpoint() -> bool:
    """Make ``--resume`` use the newest checkpoint that loads.

    This is the checkpoint that ``last_checkpoint`` names. If that checkpoint or
    ``last_checkpoint`` is damaged or missing, it is the ``epoch_N.pth`` or
    ``iter_N.pth`` in the same folder with the highest number that loads; the log names
    the checkpoints skipped, the reasons, and the one used. Training starts over only if
    the folder has no checkpoint, and fails if it has some but none loads.

    Symptom: ``FileNotFoundError:  can not be found.`` from every ``train.py --resume``
    after a kill that left ``last_checkpoint`` empty; ``EOFError`` or
    ``PytorchStreamReader failed`` for a truncated checkpoint; training starts over and
    overwrites the checkpoints if ``last_checkpoint`` is missing.

    Upstream: not reported.

    Delete when: the oldest supported mmengine searches for a checkpoint that loads.
    """
    if checkpoint.find_latest_checkpoint is _find_latest_that_loads:
        return False
    for holder in _HOLDERS:
        holder.find_latest_checkpoint = _find_latest_that_loads
    return True


def _find_latest_that_loads(path: str) -> str | None:
    folder = Path(path)
    pointer = folder / 'last_checkpoint'
    skipped = []
    named = ''
    if pointer.exists():
        # A power failure may leave null bytes.
        named = pointer.read_text(errors='replace').replace('\0', '').strip()
        # A remote path or a DeepSpeed folder: leave it to mmengine.
        if '://' in named or os.path.isdir(named):
            return named
        if not named:
            skipped.append(f'{pointer} is empty')
        elif not os.path.isfile(named):
            skipped.append(f'{pointer} names {named}, which does not exist')
    candidates = _by_age(folder, named)
    if os.path.isfile(named):
        candidates = [Path(named)] + [
            candidate for candidate in candidates if not candidate.samefile(named)
        ]
    elif not skipped and candidates:
        skipped.append(f'{pointer} is missing')
    for candidate in candidates:
        problem = _problem(candidate)
        if problem is None:
            if skipped:
                _warn(f'{"; ".join(skipped)}. Resuming from {candidate}.')
            # mmengine expects a str.
            return str(candidate)
        skipped.append(f'{candidate} {problem}')
    if skipped:
        raise RuntimeError(
            f'No checkpoint to resume from in {folder}: {"; ".join(skipped)}. To '
            f'train, {_ADVICE}.'
        )
    _warn(f'No checkpoint in {folder}: training starts from scratch.')
    return None


def _by_age(folder: Path, named: str) -> list[Path]:
    """List the training checkpoints of a folder, newest first."""
    folders = {folder.resolve()}
    prefixes = {'epoch_', 'iter_'}
    if named:
        # Set by CheckpointHook(out_dir=..., filename_tmpl=...).
        folders.add(Path(named).resolve().parent)
        match = _NUMBERED.fullmatch(Path(named).name)
        if match:
            prefixes.add(match[1])
    numbered = {}
    for place in folders:
        for path in place.glob('*.pth'):
            match = _NUMBERED.fullmatch(path.name)
            if match and match[1] in prefixes and path.is_file():
                key = (int(match[2]), path.stat().st_mtime)
                numbered.setdefault(match[1], []).append((key, path))
    # Epoch numbers and iteration numbers cannot be compared: order by time instead.
    series = sorted(
        numbered.values(),
        key=lambda found: max(mtime for (_, mtime), _ in found),
        reverse=True,
    )
    return [path for found in series for _, path in sorted(found, reverse=True)]


def _problem(path: Path) -> str | None:
    """Find what prevents resuming from a checkpoint; None if nothing does."""
    damage = find_damage(str(path))
    if damage is not None:
        return damage
    try:
        try:
            # Reads only the structure. Files of torch < 1.6 cannot be memory-mapped.
            content = torch.load(path, map_location='cpu', mmap=True)
        except RuntimeError:
            content = torch.load(path, map_location='cpu')
    except Exception as error:
        first_line = str(error).strip().partition('\n')[0]
        return f'cannot be read ({type(error).__name__}: {first_line})'
    for key in ('meta', 'state_dict', 'message_hub'):
        if not isinstance(content, dict) or key not in content:
            return f'is not a training checkpoint: it has no {key!r}'
    return None


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
