# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Something-Something V1 and V2, with labels in CSV or JSON files."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from selfy_mmaction.datasets.class_names import fingerprint_class_names

from .layout import Annotation, Dataset, LabelSet, Media, find_file
from .official_files import (
    Value,
    distinct_names,
    label_clips,
    read_json,
    read_lines,
)

NUM_CLASSES = 174

ALPHABETICAL = '000af852c09047d1'
"""Fingerprint of the classes in alphabetical order; V1 and V2 have the same names."""

MMACTION2 = 'cad500a01b191d33'
"""Fingerprint of mmaction2's ``tools/data/sthv1/label_map.txt``."""

OFFICIAL_SPLITS = {'train': 'train', 'val': 'validation'}


def read_annotations(root: Path, version: str) -> list[Annotation]:
    """Read the labels and the clips of both splits.

    Classes are in the order of the labels file. The test split is not read, because its
    labels are not public.

    Args:
        root: Folder with the official files ``something-something-VERSION-labels``,
            ``-train`` and ``-validation``, or ``labels``, ``train`` and ``validation``,
            each as ``.csv`` or ``.json``.
        version: ``'v1'`` or ``'v2'``.
    """

    def find(part: str) -> Path:
        names = [
            f'{stem}.{suffix}'
            for stem in (f'something-something-{version}-{part}', part)
            for suffix in ('csv', 'json')
        ]
        return find_file(root, *names, what=f'{part} file of Something-Something')

    labels_file = find('labels')
    class_names = distinct_names(labels_file, _read_labels(labels_file))
    labels: dict[str, int] = {}
    for label, name_of_class in enumerate(class_names):
        known = labels.setdefault(fingerprint_class_names([name_of_class]), label)
        if known != label:
            raise ValueError(
                f'{labels_file}: the classes {class_names[known]!r} and '
                f'{name_of_class!r} differ only in punctuation; download it again'
            )
    fingerprints: dict[str, str] = {}  # cache: templates repeat a thousand times

    def labeled(path: Path) -> Iterator[tuple[Value, str]]:
        for clip, template in _read_clips(path):
            text = _without_brackets(template.text())
            if text not in fingerprints:
                fingerprints[text] = fingerprint_class_names([text])
            if fingerprints[text] not in labels:
                raise ValueError(
                    f'{template.where}: clip {clip.name()} has the class {text!r}, '
                    f'which is not in {labels_file}; use files of the same version'
                )
            yield clip, class_names[labels[fingerprints[text]]]

    clips, repeated = label_clips(
        {split: find(part) for split, part in OFFICIAL_SPLITS.items()}, labeled
    )
    label_of = {text: label for label, text in enumerate(class_names)}
    splits = {
        split: {clip: label_of[text] for clip, text in labels_of_split.items()}
        for split, labels_of_split in clips.items()
    }
    return [Annotation(f'sth{version}', version, class_names, splits, repeated)]


def _without_brackets(template: str) -> str:
    return template.replace('[', '').replace(']', '').strip()


def _read_labels(path: Path) -> list[Value]:
    if path.suffix == '.csv':
        names = list(read_lines(path))
    else:
        content = read_json(path)
        is_numbered = isinstance(content.content, dict)
        names = _in_order(content) if is_numbered else content.entries()
    return [
        Value(_without_brackets(name.text().strip('"')), path, name.place)
        for name in names
    ]


def _in_order(classes: Value) -> list[Value]:
    """Sort the class names of an object by their labels."""
    fields = classes.fields()
    names: dict[int, Value] = {}
    for name, label in fields.items():
        number = label.label(len(fields), classes.path.name)
        if number in names:
            raise ValueError(
                f'{classes.where}: the labels must be 0 to {len(fields) - 1}, each '
                f'once, but {names[number].content!r} and {name!r} both have {number}'
            )
        names[number] = classes.part(name, f'class {number}')
    return [names[number] for number in range(len(fields))]


def _read_clips(path: Path) -> Iterator[tuple[Value, Value]]:
    """Yield each clip and its class."""
    if path.suffix == '.json':
        for item in read_json(path).entries():
            yield item.field('id'), item.field('template', 'label')
        return
    for line in read_lines(path):
        clip, separator, template = line.content.partition(';')
        if not separator or not clip or not template.strip('"'):
            line.reject('"id;class"')
        yield line.part(clip, 'id'), line.part(template.strip('"'), 'class')


def _label_sets(
    version: str, train: int, val: int, orders: dict[str, str]
) -> tuple[LabelSet, ...]:
    name = f'sth{version}'
    return (
        LabelSet(
            name=name,
            num_classes=NUM_CLASSES,
            published={version: {'train': train, 'val': val}},
            orders=orders,
            list_name=f'{name}_{{split}}_list_{{kind}}.txt',
        ),
    )


STHV1 = Dataset(
    name='sthv1',
    label_sets=_label_sets(
        'v1', 86017, 11522, {'alphabetical': ALPHABETICAL, 'mmaction2': MMACTION2}
    ),
    media=(
        Media(
            'rawframes',
            'rawframes',
            ('rawframes', '20bn-something-something-v1'),
            frame_name='{:05}.jpg',
        ),
        Media('videos', 'videos', ('videos',)),
    ),
    read_annotations=partial(read_annotations, version='v1'),
    # The official TSM and SELFY code sort the names; mmaction2 keeps the order of the
    # labels file.
    arrange={'alphabetical': sorted, 'mmaction2': list},
)
STHV2 = Dataset(
    name='sthv2',
    label_sets=_label_sets('v2', 168913, 24777, {'official': ALPHABETICAL}),
    media=(
        Media('videos', 'videos', ('videos', '20bn-something-something-v2')),
        Media('rawframes', 'rawframes', ('rawframes',)),
    ),
    read_annotations=partial(read_annotations, version='v2'),
)
