# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Preparation of a user's own videos: class names, lists and ``preparation.json``."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selfy_mmaction.ops import check_int

from ..check_report import NUM_EXAMPLES
from ..decoding import chosen_decoder
from ..list_writing import write_files
from ..media_checks import PROBLEMS
from ..media_links import link_folder
from ..preparing import RECORD, sha256
from .clips import (
    SPLITS,
    Clip,
    Source,
    check_labels,
    check_paths,
    is_inside,
    name_some,
)
from .duplicates import find_copies
from .folders import read_folder
from .inspection import CACHE, Facts, inspect_videos
from .report import describe_media, note_classes
from .splitting import count_classes, group_clips, note_split, split_clips
from .tables import read_table

CLASS_FILE = 'classes.txt'
VIDEOS = 'videos'
SKIP = '--skip-unreadable leaves them out'


def prepare_own_videos(
    source: str | os.PathLike,
    out: str | os.PathLike,
    val: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
    group_by: str | None = None,
    min_frames: int = 8,
    skip_unreadable: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
) -> dict:
    """Write the files that the configs in ``configs/own`` read.

    These are ``classes.txt``, ``train.txt``, ``val.txt``, ``test.txt`` (a path and a
    label per line, separated by a tab), ``videos`` (a link to the folder of the videos)
    and, last, ``preparation.json``. All frames of each video are decoded first. Results
    are kept, so the same call resumes an interrupted one. If there are no clips for
    test, ``test.txt`` has those of val.

    Args:
        source: Folder with one folder per class, perhaps below folders train, val and
            test; or a CSV or TSV file with the columns path and label, and perhaps
            group and split.
        out: Folder to write to; created if missing.
        val: Fraction of the clips of each class for val. Default: 0.15.
        test: Fraction for test; may be 0. Default: 0.15.
        seed: Seed of the split, 0 or greater. Default: 0.
        group_by: How names tell which clips are of one source video, see
            :func:`group_clips`. Default: None.
        min_frames: Least number of frames of a video. Default: 8.
        skip_unreadable: Whether to leave out videos that cannot be read or are too
            short, instead of failing. Default: False.
        overwrite: Whether to replace files that differ. Default: False.
        workers: Number of processes and threads. Default: None, the number of
            processors.

    Returns:
        The content of ``preparation.json``.

    Raises:
        FileNotFoundError: If ``source`` or a listed video does not exist.
        FileExistsError: If a file in ``out`` differs from its new content.
        ValueError: If an option is out of range, or training on these videos would be
            wrong. The message names the videos or classes and what to do.
    """
    source, out = Path(source), Path(out)
    check_int('seed', seed, least=0, most=2**63)
    check_int('min_frames', min_frames)
    if not (0 < val < 1 and 0 <= test < 1 and val + test < 1):
        raise ValueError(
            f'val={val} and test={test} must be fractions whose sum is below 1; val '
            'must be above 0'
        )
    decoder = chosen_decoder()
    # The report contains what OpenCV would log.
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    if not source.exists():
        raise FileNotFoundError(
            f'{source} does not exist; pass a folder with one folder per class, or a '
            'CSV file with the columns path and label'
        )
    _check_places(source if source.is_dir() else source.parent, source, out)
    settings = {
        'source': str(source.resolve()),
        'val': val,
        'test': test,
        'seed': seed,
        'group_by': group_by,
    }
    if not overwrite:
        _check_settings(out, settings)

    found = read_folder(source) if source.is_dir() else read_table(source)
    if not overwrite and os.path.lexists(out / VIDEOS):
        _link_videos(out, found.root, overwrite)
    check_paths(found.clips)
    names = check_labels(clip.label for clip in found.clips)
    clips = group_clips(found.clips, group_by)
    copies = find_copies(clips, workers)
    clips = [clip for clip in clips if clip.path not in copies]
    fractions = {'val': val, 'test': test}
    split_clips(clips, fractions, seed)  # fails before the long work

    facts = inspect_videos(clips, decoder, workers, out / CACHE)
    problems = _find_problems(clips, facts, min_frames)
    if problems and not skip_unreadable:
        raise ValueError(_describe_problems(problems, len(clips)))
    left_out = {path: sentence for path, (_, sentence) in problems.items()}
    kept = [
        (clip, fact)
        for clip, fact in zip(clips, facts, strict=True)
        if clip.path not in problems
    ]
    lost = sorted(set(names) - {clip.label for clip, _ in kept})
    if lost:
        raise ValueError(
            f'no video of the class {name_some(map(repr, lost))} can be used '
            f'({name_some(f"{k} {v}" for k, v in left_out.items())}); repair them, or '
            'leave the class out'
        )
    clips = split_clips([clip for clip, _ in kept], fractions, seed)
    record: dict[str, Any] = {
        'dataset': 'own',
        **settings,
        'min_frames': min_frames,
        'decoder': decoder,
        'classes': names,
        'counts': count_classes(clips, names),
        'groups': len({clip.group_key for clip in clips}),
        'media': describe_media([fact for _, fact in kept]),
        'left_out': left_out,
        'copies': copies,
        'skipped': found.skipped,
        'notes': [*found.notes, *note_classes(clips, names)],
    }
    if not found.clips[0].split:
        record['notes'] += note_split(clips, fractions)
    _write(out, found, clips, record, overwrite)
    return record


def _check_places(folder: Path, source: Path, out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise FileExistsError(f'{out} is not a folder; choose another --out')
    inner, outer = (out, folder) if is_inside(out, folder) else (folder, out)
    # A list may be next to the lists that are made from it.
    if is_inside(inner, outer) and (source.is_dir() or is_inside(outer, inner)):
        raise ValueError(
            f'--out {out} and the folder of the videos, {folder}, must not be inside '
            'of each other; choose another --out'
        )


def _check_settings(out: Path, settings: dict) -> None:
    path = out / RECORD
    if not path.exists():
        return
    try:
        record = json.loads(path.read_text('utf-8'))
        changed = [key for key in settings if record.get(key) != settings[key]]
    except (ValueError, AttributeError):
        raise FileExistsError(
            f'{path} cannot be read; delete it, or use --overwrite'
        ) from None
    if changed:
        key = changed[0]
        raise FileExistsError(
            f'{out} was prepared with {key} {record.get(key)!r}, not '
            f'{settings[key]!r}; use --overwrite or another --out'
        )


def _link_videos(out: Path, root: Path, overwrite: bool) -> bool:
    """Link the folder of the videos; return whether the system allows it."""
    target = out / VIDEOS
    if os.path.lexists(target) and not target.is_symlink():
        raise FileExistsError(
            f'{target} exists and is not a link; move it elsewhere, or choose another '
            '--out'
        )
    try:
        link_folder(target, root, overwrite)
    except FileExistsError:
        raise
    except OSError:  # Windows without developer mode, or FAT
        return False
    return True


def _find_problems(
    clips: Sequence[Clip], facts: Sequence[Facts], min_frames: int
) -> dict[str, tuple[str, str]]:
    """Return the kind of the problem and a sentence without a subject by path."""
    problems = {}
    for clip, fact in zip(clips, facts, strict=True):
        if fact.problem:
            problems[clip.path] = fact.problem
        elif 0 < fact.frames < min_frames:
            frames = f'has {fact.frames} frame' + 's' * (fact.frames > 1)
            problems[clip.path] = 'short', frames
    return problems


def _describe_problems(problems: dict[str, tuple[str, str]], total: int) -> str:
    fixes = {
        **PROBLEMS,
        'short': 'have fewer frames than --min-frames: delete them, or set another '
        '--min-frames',
    }
    lines = [f'{len(problems)} of {total} videos cannot be used ({SKIP}):']
    for kind in dict.fromkeys(kind for kind, _ in problems.values()):
        same = [f'{p} {s}' for p, (other, s) in problems.items() if other == kind]
        lines += [f'{len(same)} {fixes[kind]}:']
        lines += [f'    {sentence}' for sentence in same[:NUM_EXAMPLES]]
        lines += [f'    and {len(same) - NUM_EXAMPLES} more'] * (
            len(same) > NUM_EXAMPLES
        )
    return '\n'.join(lines)


def _write(
    out: Path, found: Source, clips: list[Clip], record: dict, overwrite: bool
) -> None:
    labels = {name: label for label, name in enumerate(record['classes'])}
    root = Path() if _link_videos(out, found.root, overwrite) else found.root.resolve()
    texts = {CLASS_FILE: ''.join(f'{name}\n' for name in labels)}
    for split in SPLITS:
        texts[f'{split}.txt'] = ''.join(
            f'{(root / clip.path).as_posix()}\t{labels[clip.label]}\n'
            for clip in clips
            if clip.split == split
        )
    if not texts['test.txt']:
        texts['test.txt'] = texts['val.txt']
        record['notes'].append('there are no clips for test: test.txt has those of val')

    if overwrite:
        # Until the new one, nobody should take a mixture of lists for complete.
        (out / RECORD).unlink(missing_ok=True)
    write_files(out, texts, overwrite)
    record['sha256'] = {name: sha256(out / name) for name in texts}
    text = json.dumps(record, indent=2, ensure_ascii=False) + '\n'
    # Names that are not UTF-8 become JSON's escapes.
    text = text.encode('utf-8', 'backslashreplace').decode()
    write_files(out, {RECORD: text}, overwrite=True)
