# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Clips of a user's dataset, and what their names may be."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..check_report import NUM_EXAMPLES
from ..official_files import UNWRITABLE

SPLITS = ('train', 'val', 'test')

SPLIT_NAMES = {
    'train': 'train',
    'training': 'train',
    'val': 'val',
    'valid': 'val',
    'validation': 'val',
    'test': 'test',
    'testing': 'test',
}
"""Names of folders, and values of a column, that mean a split."""


@dataclass(frozen=True)
class Clip:
    """Video with its label.

    Attributes:
        path: Path below the folder of the videos, with ``/``; an absolute path if the
            video is not there.
        label: Name of the class.
        file: The video.
        group: Name that the clips of one source video share. Default: an empty string,
            which puts the clip into a group of its own.
        split: ``'train'``, ``'val'`` or ``'test'``; None if it is to be chosen.
        below: Path below the folder of the class; empty for clips from a list.
    """

    path: str
    label: str
    file: Path
    group: str = ''
    split: str | None = None
    below: str = ''

    @property
    def group_key(self) -> str:
        """Name of the group, unique per clip without a group, and equal on any system.

        macOS decomposes letters with accents in file names; Linux does not.
        """
        kind, name = ('group', self.group) if self.group else ('path', self.path)
        return f'{kind} {unicodedata.normalize("NFC", name)}'


@dataclass
class Source:
    """Clips that a folder or a list names.

    Attributes:
        root: Folder that the paths are relative to.
        clips: Clips in natural order of their paths.
        skipped: Number of files that are no clips, by reason.
        notes: Sentences for the report.
    """

    root: Path
    clips: list[Clip]
    skipped: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def natural_key(name: str) -> tuple:
    """Return a sort key for names: ``take 2`` is before ``take 10``."""
    name = unicodedata.normalize('NFC', name)
    parts = re.split('([0-9]+)', name.casefold())
    # Odd parts are the digits, so that parts of the same kind are compared.
    return [int(p) if i % 2 else p for i, p in enumerate(parts)], name


def tidy_label(label: str) -> str:
    """Return a class name in composed form, without blanks around it."""
    return unicodedata.normalize('NFC', label.strip())


def name_some(names: Iterable[object]) -> str:
    """Join the first names for a message, with the number of the others."""
    texts = [str(name) for name in names]
    more = len(texts) - NUM_EXAMPLES
    return ', '.join(texts[:NUM_EXAMPLES]) + (f' and {more} more' if more > 0 else '')


def check_paths(clips: Sequence[Clip]) -> None:
    """Reject paths that a list with tabs between its columns cannot hold.

    Raises:
        ValueError: If a path has a tab, a line break or another control character, is
            not in UTF-8, or begins or ends with a blank.
    """
    for clip in clips:
        if UNWRITABLE.search(clip.path):
            raise ValueError(
                f'{clip.path!r} has a tab, a line break or another control character, '
                'or is not in UTF-8; lists cannot hold it: rename the file or folder'
            )
        if clip.path != clip.path.strip():
            raise ValueError(
                f'{clip.path!r} begins or ends with a blank, which readers of lists '
                'remove: rename the file or folder'
            )


def check_labels(labels: Iterable[str]) -> list[str]:
    """Check the class names and sort them naturally.

    Raises:
        ValueError: If there are fewer than two, one cannot be a line of text, or two
            differ only in capitalization, blanks or the form of Unicode.
    """
    alike: dict[str, set[str]] = defaultdict(set)
    for label in dict.fromkeys(labels):
        if not label or UNWRITABLE.search(label):
            raise ValueError(
                f'the class name {label!r} is empty, has a tab, a line break or '
                'another control character, or is not in UTF-8; rename the class'
            )
        words = unicodedata.normalize('NFKC', label).casefold().split()
        alike[' '.join(words)].add(label)
    for forms in alike.values():
        if len(forms) > 1:
            both = ' and '.join(map(repr, sorted(forms)))
            raise ValueError(
                f'the classes {both} differ only in capitalization, blanks or the form '
                'of Unicode; give them one name if they are the same, or else clearly '
                'different ones'
            )
    names = sorted(set[str]().union(*alike.values()), key=natural_key)
    if len(names) < 2:
        raise ValueError(
            f'found {len(names)} {"class" if len(names) == 1 else "classes"}'
            f'{"".join(f", {name!r}" for name in names)}; training needs at least 2: '
            'put the videos of each class into one folder'
        )
    return names


def is_inside(path: str | os.PathLike, folder: str | os.PathLike) -> bool:
    """Return whether a path is a folder or is inside it, with links resolved."""
    path, folder = Path(path).resolve(), Path(folder).resolve()
    return path == folder or folder in path.parents
