# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Kinetics-400: CSV files, and clips named after their time in the video."""

import csv
from collections.abc import Iterator
from pathlib import Path

from .layout import Annotation, DataSet, LabelSet, Media, find_file

OFFICIAL_FILES = {
    'train': ('kinetics_train.csv', 'train.csv'),
    'val': ('kinetics_val.csv', 'val.csv', 'validate.csv'),
}

COLUMNS = ('label', 'youtube_id', 'time_start', 'time_end')


def read_annotations(root: Path) -> list[Annotation]:
    """Read the CSV files; a clip is ``ID_START_END`` with six digits each.

    Args:
        root: Folder of ``kinetics_train.csv`` and ``kinetics_val.csv`` (mmaction2's
            names), or ``train.csv`` and ``val.csv`` or ``validate.csv``.

    Returns:
        One annotation, its classes in alphabetical order as mmaction2 sorts them.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A column is missing, or a class of ``val`` is not in ``train``.
    """
    paths = {
        split: find_file(root, *names, what=f'{split} CSV of Kinetics')
        for split, names in OFFICIAL_FILES.items()
    }
    rows = {split: list(_read_clips(path)) for split, path in paths.items()}
    class_names = sorted(
        {name for _, name in rows['train']}, key=lambda name: name.replace(' ', '_')
    )
    labels = {name: label for label, name in enumerate(class_names)}
    for clip, name in rows['val']:
        if name not in labels:
            raise ValueError(
                f'{paths["val"]}: clip {clip} has the class {name!r}, which is not in '
                f'{paths["train"]}'
            )
    splits = {
        split: {clip: labels[name] for clip, name in rows[split]} for split in rows
    }
    return [Annotation('kinetics400', 'k400', tuple(class_names), splits)]


def _read_clips(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(newline='') as file:
        reader = csv.DictReader(file)
        missing = set(COLUMNS) - set(reader.fieldnames or ())
        if missing:
            raise ValueError(
                f'{path}: column {", ".join(sorted(missing))} is missing; expected a '
                f'first line with {",".join(COLUMNS)}'
            )
        for row in reader:
            start, end = (int(float(row[key])) for key in ('time_start', 'time_end'))
            name = row['label'].replace('"', '').replace('_', ' ')
            yield f'{row["youtube_id"]}_{start:06d}_{end:06d}', name


KINETICS400 = DataSet(
    name='kinetics400',
    label_sets=(
        LabelSet(
            name='kinetics400',
            num_classes=400,
            published={'k400': {'train': 246534, 'val': 19906}},
            orders={'alphabetical': '0edc86d135c15f2e'},
            list_name='kinetics400_{split}_list_{kind}.txt',
        ),
    ),
    media=(
        Media('videos', 'videos_{split}', ('videos_{split}', '{split}'), depth=2),
        Media('rawframes', 'rawframes_{split}', ('rawframes_{split}',), depth=2),
    ),
    read_annotations=read_annotations,
    arrange={'alphabetical': list},
    loses_videos=True,
)
