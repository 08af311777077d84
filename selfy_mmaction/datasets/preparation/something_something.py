# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Official files of Something-Something: CSV (V1) and JSON (V2), in either's place."""

from collections.abc import Iterator
from pathlib import Path

from ..class_names import fingerprint_class_names
from .layout import Annotation, find_file, read_json

NUM_CLASSES = 174

ALPHABETICAL = '000af852c09047d1'
"""Fingerprint of the classes in alphabetical order, V1 and V2: the names are equal."""

OFFICIAL_SPLITS = {'train': 'train', 'val': 'validation'}


def read_something(root: Path, name: str, version: str) -> list[Annotation]:
    """Read the labels and the clips of both splits.

    The test split has no public labels and is not read.

    Args:
        root: Folder of the official files ``something-something-VERSION-labels``,
            ``-train`` and ``-validation``, or ``labels``, ``train``, ``validation``,
            each as ``.csv`` or ``.json``.
        name: Name of the label set.
        version: ``v1`` or ``v2``.

    Returns:
        One annotation, its classes in the order of the labels file.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file cannot be read, or names a class that is no label.
    """

    def find(part: str) -> Path:
        names = [
            f'{stem}.{suffix}'
            for stem in (f'something-something-{version}-{part}', part)
            for suffix in ('csv', 'json')
        ]
        return find_file(root, *names, what=f'{part} file of Something-Something')

    class_names = _read_labels(find('labels'))
    labels = {fingerprint_class_names([name]): i for i, name in enumerate(class_names)}
    fingerprints: dict[str, str] = {}  # a template is repeated a thousand times
    splits: dict[str, dict[str, int]] = {}
    for split, part in OFFICIAL_SPLITS.items():
        path = find(part)
        clips = splits[split] = {}
        for clip, template in _read_clips(path):
            if template not in fingerprints:
                fingerprints[template] = fingerprint_class_names([template])
            if fingerprints[template] not in labels:
                raise ValueError(
                    f'{path}: clip {clip} has the class {template!r}, which is not in '
                    f'{find("labels")}; the files must be of one version'
                )
            clips[clip] = labels[fingerprints[template]]
    return [Annotation(name, version, tuple(class_names), splits)]


def _without_brackets(template: str) -> str:
    return template.replace('[', '').replace(']', '').strip()


def _read_labels(path: Path) -> list[str]:
    if path.suffix == '.csv':
        lines = [line.strip().strip('"') for line in path.read_text().splitlines()]
        return [line for line in lines if line]
    content = read_json(path)
    if isinstance(content, dict):
        by_label = sorted((int(label), name) for name, label in content.items())
        if [label for label, _ in by_label] != list(range(len(by_label))):
            raise ValueError(
                f'{path}: the labels must be 0 to {len(by_label) - 1}, each once'
            )
        content = [name for _, name in by_label]
    return [_without_brackets(name) for name in content]


def _read_clips(path: Path) -> Iterator[tuple[str, str]]:
    if path.suffix == '.json':
        for item in read_json(path):
            template = item.get('template', item.get('label'))
            if 'id' not in item or template is None:
                raise ValueError(
                    f'{path}: an entry needs "id" and "template", got {item!r}'
                )
            yield str(item['id']), _without_brackets(template)
        return
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        clip, separator, template = line.strip().partition(';')
        if not line.strip():
            continue
        if not separator or not clip or not template:
            raise ValueError(
                f'{path}, line {number}: {line!r} cannot be read; expected "id;class"'
            )
        yield clip, template.strip('"')
