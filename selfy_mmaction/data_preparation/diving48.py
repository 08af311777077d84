# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Diving-48, with labels in two versions, V1 and V2."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from .layout import Annotation, Dataset, LabelSet, Media, find_file, search_file
from .official_files import Value, distinct_names, label_clips, read_json

VOCABULARY = 'Diving48_vocab.json'
OFFICIAL_FILES = {
    'v1': {'train': 'Diving48_train.json', 'val': 'Diving48_test.json'},
    'v2': {'train': 'Diving48_V2_train.json', 'val': 'Diving48_V2_test.json'},
}


def read_annotations(root: Path) -> list[Annotation]:
    """Read the vocabulary and all available versions of the labels.

    Args:
        root: Folder with ``Diving48_vocab.json``, and ``Diving48_train.json`` and
            ``Diving48_test.json`` (V1) or ``Diving48_V2_train.json`` and
            ``Diving48_V2_test.json`` (V2).
    """
    vocabulary = find_file(root, VOCABULARY, what='vocabulary')
    class_names = distinct_names(
        vocabulary, (_join(entry) for entry in read_json(vocabulary).entries())
    )
    annotations = []
    for version, names in OFFICIAL_FILES.items():
        train = search_file(root, names['train'])
        if train is None:
            continue
        val = find_file(root, names['val'], what=f'labels {version}')
        splits, repeated = label_clips(
            {'train': train, 'val': val},
            partial(_read_clips, num_classes=len(class_names)),
        )
        annotations.append(
            Annotation('diving48', version, class_names, splits, repeated)
        )
    if not annotations:
        files = ' or '.join(names['train'] for names in OFFICIAL_FILES.values())
        find_file(root, files, what='labels of Diving-48')
    return annotations


def _join(entry: Value) -> Value:
    """Join the four attributes of a class to one name."""
    if isinstance(entry.content, list):
        attributes = [attribute.text() for attribute in entry.entries(at_least=1)]
        return Value('+'.join(attributes), entry.path, entry.place)
    return entry


def _read_clips(path: Path, num_classes: int) -> Iterator[tuple[Value, int]]:
    for item in read_json(path).entries():
        label = item.field('label').label(num_classes, VOCABULARY)
        yield item.field('vid_name'), label


DIVING48 = Dataset(
    name='diving48',
    label_sets=(
        LabelSet(
            name='diving48',
            num_classes=48,
            published={
                'v1': {'train': 15943, 'val': 2096},
                'v2': {'train': 15027, 'val': 1970},
            },
            orders={'official': '61da9b1daeb662b1'},
            list_name='diving48_{version}_{split}_list_{kind}.txt',
            host_list_names=dict.fromkeys(
                ('videos', 'rawframes'), 'diving48_{split}_list_{kind}.txt'
            ),
        ),
    ),
    media=(
        Media('videos', 'videos', ('videos', 'rgb')),
        Media('rawframes', 'rawframes', ('rawframes',)),
    ),
    read_annotations=read_annotations,
)
