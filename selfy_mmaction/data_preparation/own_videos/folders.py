# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Clips in a folder with one folder per class, perhaps below one folder per split."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from selfy_mmaction.atomic_files import PARTIAL

from ..media import VIDEO_SUFFIXES
from .clips import SPLIT_NAMES, Clip, Source, name_some, natural_key, tidy_label

OWN_SUFFIXES = frozenset(
    (
        *VIDEO_SUFFIXES,
        *('.3gp', '.m2ts', '.m4v', '.mpeg', '.mpg', '.mts', '.ogv', '.ts', '.wmv'),
    )
)
"""Extensions of videos in lowercase."""


def read_folder(root: Path) -> Source:
    """Find the clips of a folder.

    The folder holds one folder per class. Videos may be in folders below it. If all
    folders at the top are called train, val (valid, validation) or test and hold one
    folder per class, they are kept as splits. Links are followed. Hidden files and
    files without the extension of a video are skipped.

    Args:
        root: Folder to search.

    Raises:
        ValueError: If there are no folders, videos are directly in the folder of a
            split, or two folders mean the same split or class.
    """
    source = Source(root, [])
    skipped: Counter[str] = Counter()
    tops = _subfolders(root, source, skipped)
    splits = _find_splits(root, tops)
    if splits is None:
        _add_classes(source, root, tops, None, skipped)
    else:
        for split, top in splits.items():
            folders = _subfolders(root / top, source, skipped)
            _add_classes(source, root / top, folders, split, skipped)
    if not source.clips:
        raise ValueError(
            f'{root} has no videos in folders of classes; expected '
            f'{root}/CLASS/VIDEO.mp4, or pass a CSV file with the columns path and '
            'label'
        )
    source.clips.sort(key=lambda clip: natural_key(clip.path))
    source.skipped = dict(sorted(skipped.items()))
    return source


def _subfolders(folder: Path, source: Source, skipped: Counter[str]) -> list[str]:
    """Return the folders in a folder; note videos outside of them."""
    folders, outside = [], []
    for name in sorted(os.listdir(folder), key=natural_key):
        if name.startswith('.'):
            skipped['hidden'] += 1
        elif os.path.isdir(folder / name):
            folders.append(name)
        elif _is_video(name):
            outside.append(name)
        else:
            skipped['no video'] += 1
    if outside:
        source.notes.append(
            f'{len(outside)} videos are directly in {folder}, outside of the folder of '
            f'a class, and are left out: {name_some(outside)}'
        )
    return folders


def _find_splits(root: Path, tops: list[str]) -> dict[str, str] | None:
    """Return the folder of each split, or None if the folders are classes."""
    splits = {
        SPLIT_NAMES[top.lower()]: top for top in tops if top.lower() in SPLIT_NAMES
    }
    others = [top for top in tops if top.lower() not in SPLIT_NAMES]
    if len(tops) < 2 or others or 'train' not in splits:
        return None
    if len(splits) < len(tops):
        raise ValueError(
            f'{root} has the folders {", ".join(tops)}, of which two mean the same '
            'split; name them train, val and test'
        )
    for top in tops:
        videos = [name for name in os.listdir(root / top) if _is_video(name)]
        if videos:
            raise ValueError(
                f'{root / top} has videos that are in no folder of a class (first: '
                f'{min(videos)}); expected {root / top}/CLASS/VIDEO.mp4. If '
                f'{" and ".join(tops)} are classes, rename them, or pass a CSV file '
                'with the columns path and label'
            )
    return splits


def _add_classes(
    source: Source,
    top: Path,
    folders: list[str],
    split: str | None,
    skipped: Counter[str],
) -> None:
    first: dict[str, str] = {}
    for folder in folders:
        label = tidy_label(folder)
        if label in first:
            raise ValueError(
                f'{top} has two folders of the class {label!r}, {first[label]!r} and '
                f'{folder!r}, whose names differ in blanks or the form of Unicode; '
                'move the videos into one of them'
            )
        first[label] = folder
        found = 0
        for below in _videos(top / folder, skipped):
            found += 1
            file = top / folder / below
            path = file.relative_to(source.root).as_posix()
            source.clips.append(Clip(path, label, file, split=split, below=below))
        if not found:
            source.notes.append(
                f'{top / folder} has no videos, so it is not a class; delete it, or '
                'put the videos there and run this again'
            )


def _videos(
    folder: Path, skipped: Counter[str], outer: tuple[str, ...] = ()
) -> Iterator[str]:
    here = os.path.realpath(folder)
    if here in outer:
        raise ValueError(f'{folder} is a link to a folder that holds it; delete it')
    for name in sorted(os.listdir(folder)):
        if name.startswith('.'):
            skipped['hidden'] += 1
        elif os.path.isdir(folder / name):
            for below in _videos(folder / name, skipped, (*outer, here)):
                yield f'{name}/{below}'
        elif _is_video(name):
            yield name
        else:
            skipped['no video'] += 1


def _is_video(name: str) -> bool:
    stem, suffix = os.path.splitext(unicodedata.normalize('NFC', name))
    # Interrupted copies and cuts leave partial files.
    is_whole = not name.startswith('.') and not stem.endswith(PARTIAL)
    return is_whole and suffix.lower() in OWN_SUFFIXES
