# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmengine resumes from what ``last_checkpoint`` names, whatever that is."""

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
    'name a checkpoint (--resume CHECKPOINT), or start from the beginning without '
    '--resume or in another folder (--work-dir)'
)


def close_latest_checkpoint() -> bool:
    """Let ``--resume`` go on from the newest checkpoint that loads.

    That is the one which ``last_checkpoint`` names. Where it is damaged, or
    ``last_checkpoint`` is, or is missing: the ``epoch_N.pth`` or ``iter_N.pth`` of the
    same folder with the highest number that loads; the log says which was left out,
    why, and which is taken. Training starts anew only where there is none at all, and
    stops where there are some but none loads.

    Symptom: ``FileNotFoundError:  can not be found.`` at each ``train.py --resume``
    after a kill that left an empty ``last_checkpoint``; ``EOFError`` or
    ``PytorchStreamReader failed`` for a cut checkpoint; training starts anew, over the
    checkpoints, where ``last_checkpoint`` is missing.

    Upstream: not reported.

    Delete when: the oldest supported mmengine looks for a checkpoint that loads.
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
        # A power failure leaves zeros.
        named = pointer.read_text(errors='replace').replace('\0', '').strip()
        # On another storage, or a folder of deepspeed: as mmengine does.
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
            # As mmengine finds it there, a str.
            return str(candidate)
        skipped.append(f'{candidate} {problem}')
    if skipped:
        raise RuntimeError(
            f'There is nothing to resume in {folder}: {"; ".join(skipped)}. To train, '
            f'{_ADVICE}.'
        )
    _warn(f'No checkpoint in {folder}: training starts from the beginning.')
    return None


def _by_age(folder: Path, named: str) -> list[Path]:
    """Checkpoints of the trainings in a folder, the newest first."""
    folders = {folder.resolve()}
    prefixes = {'epoch_', 'iter_'}
    if named:
        # Of CheckpointHook(out_dir=..., filename_tmpl=...).
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
    # Numbers of epochs and of iterations are not compared with each other.
    series = sorted(
        numbered.values(),
        key=lambda found: max(mtime for (_, mtime), _ in found),
        reverse=True,
    )
    return [path for found in series for _, path in sorted(found, reverse=True)]


def _problem(path: Path) -> str | None:
    """What keeps a training from going on there, as the end of a sentence."""
    damage = find_damage(str(path))
    if damage is not None:
        return damage
    try:
        try:
            # Only the structure is read; files of torch < 1.6 cannot be mapped.
            content = torch.load(path, map_location='cpu', mmap=True)
        except RuntimeError:
            content = torch.load(path, map_location='cpu')
    except Exception as error:
        first_line = str(error).strip().partition('\n')[0]
        return f'cannot be read ({type(error).__name__}: {first_line})'
    for key in ('meta', 'state_dict', 'message_hub'):
        if not isinstance(content, dict) or key not in content:
            return f'is no checkpoint of a training: it has no {key!r}'
    return None


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
