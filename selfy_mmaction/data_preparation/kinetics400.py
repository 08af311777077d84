# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Kinetics-400, with labels in CSV files."""

from collections.abc import Iterator
from pathlib import Path

from .layout import Annotation, Dataset, LabelSet, Media, find_file
from .official_files import Value, label_clips, read_csv

OFFICIAL_FILES = {
    'train': ('kinetics_train.csv', 'train.csv'),
    'val': ('kinetics_val.csv', 'val.csv', 'validate.csv'),
}

COLUMNS = ('label', 'youtube_id', 'time_start', 'time_end')


def read_annotations(root: Path) -> list[Annotation]:
    """Read the CSV files.

    Clips are named ``ID_START_END``, with six digits each for start and end. Classes
    are in mmaction2's alphabetical order.

    Args:
        root: Folder with ``kinetics_train.csv`` and ``kinetics_val.csv`` (mmaction2's
            names), or ``train.csv`` and ``val.csv`` or ``validate.csv``.
    """
    paths = {
        split: find_file(root, *names, what=f'{split} CSV of Kinetics')
        for split, names in OFFICIAL_FILES.items()
    }
    clips, repeated = label_clips(paths, _read_clips)
    class_names = sorted(
        set(clips['train'].values()), key=lambda name: name.replace(' ', '_')
    )
    labels = {name: label for label, name in enumerate(class_names)}
    for clip, name in clips['val'].items():
        if name not in labels:
            raise ValueError(
                f'{paths["val"]}: clip {clip} has the class {name!r}, which is not in '
                f'{paths["train"]}'
            )
    splits = {
        split: {clip: labels[name] for clip, name in clips[split].items()}
        for split in clips
    }
    return [Annotation('kinetics400', 'k400', tuple(class_names), splits, repeated)]


def _read_clips(path: Path) -> Iterator[tuple[Value, str]]:
    for row in read_csv(path, COLUMNS):
        start, end = (row[key].whole_seconds() for key in ('time_start', 'time_end'))
        video = row['youtube_id']
        clip = f'{video.name()}_{start:06d}_{end:06d}'
        label = row['label']
        name = label.part(label.content.replace('"', '').replace('_', ' '), 'class')
        yield Value(clip, video.path, video.place[:1]), name.text()


KINETICS400 = Dataset(
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
