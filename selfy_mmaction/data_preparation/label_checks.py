# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Comparison of labels and class names of the lists with the official files."""

from collections.abc import Iterator
from pathlib import Path

from selfy_mmaction.datasets.class_names import (
    fingerprint_class_names,
    labels_with_direction,
)
from selfy_mmaction.text_files import read_class_names

from .check_report import Report
from .layout import Annotation, Dataset, LabelSet
from .list_checks import check_range, check_splits
from .official_files import read_text
from .prepared_lists import ClipList
from .preparing import describe_repeated, order_of


def read_annotations(root: Path, report: Report) -> list[Annotation]:
    """Read the official files, or add a note if they do not exist."""
    try:
        annotations = report.dataset.read_annotations(root)
    except FileNotFoundError as error:
        report.note(
            'no_annotation',
            report.dataset.name,
            'the labels were not compared with the official files; pass their folder '
            f'as --raw: {error}',
        )
        return []
    for annotation in annotations:
        if annotation.repeated:
            report.note(
                'repeated',
                annotation.label_set,
                describe_repeated(annotation),
                annotation.repeated,
            )
    return annotations


def check_label_set(
    label_set: LabelSet,
    lists: list[ClipList],
    annotations: list[Annotation],
    report: Report,
) -> None:
    """Compare the lists of a label set with its classes and the official files."""
    names = _read_names(label_set, report)
    for found in lists:
        check_range(found, len(names) if names else label_set.num_classes, report)
    orders = set()
    for found in lists:
        orders |= _check_against_annotation(found, annotations, names, report)
    if len(orders) > 1:
        report.error(
            'class_order',
            label_set.name,
            f'the lists use different orders of the classes: {", ".join(orders)}',
        )
    _check_counts(lists, report)
    check_splits(lists, report)
    _describe_classes(label_set, names, annotations, orders, report)
    for found in lists:
        labels = [sample.label for sample in found.samples]
        report.facts['lists'][found.name] = {
            'label_set': label_set.name,
            'label_version': found.version,
            'split': found.split,
            'kind': found.media.kind,
            'samples': len(labels),
            'published': found.published,
            'classes': len(set(labels)),
        }


def _read_names(label_set: LabelSet, report: Report) -> list[str] | None:
    path = report.out / label_set.class_file
    if not path.exists():
        report.note(
            'no_class_names',
            label_set.class_file,
            'does not exist: the names of the labels are unknown, and configs with '
            'SelectiveFlip do not start. prepare writes it and keeps correct lists',
        )
        return None
    read_text(path)  # stop the check if it is not UTF-8 text
    try:
        return read_class_names(str(path))
    except ValueError as error:
        report.error('class_names', label_set.class_file, str(error))
        return None


def _check_against_annotation(
    found: ClipList,
    annotations: list[Annotation],
    names: list[str] | None,
    report: Report,
) -> set[str]:
    """Compare a list with the official labels by class name and set its version.

    Returns:
        The order of the classes that the list uses, if there is no file of names;
        otherwise an empty set.
    """
    candidates = []
    for annotation in annotations:
        if found.version not in (None, annotation.version):
            continue
        for order, arranged in _arranged(report.dataset, annotation, names):
            wrong = _disagreements(found, annotation, arranged)
            candidates.append((len(wrong), annotation.version, order, wrong))
    if not candidates:
        if annotations:
            report.note(
                'no_annotation',
                found.name,
                f'no official files of its version {found.version} to compare it with',
            )
        return set()
    fewest, version, order, wrong = min(candidates, key=lambda entry: entry[0])
    if fewest:
        report.error(
            'class_order' if names else 'labels',
            found.name,
            f'{fewest} of {len(found.samples)} clips have a different class in the '
            f'official files ({version}): the order of the classes or the version of '
            'the labels differs',
            wrong,
        )
        return set()
    found.version = version
    return {order} if order else set()


def _arranged(
    dataset: Dataset, annotation: Annotation, names: list[str] | None
) -> Iterator[tuple[str | None, list[str]]]:
    """Yield class names in the order of the file, or in each known order."""
    if not annotation.class_names:
        yield None, []
    elif names is not None:
        yield None, names
    else:
        for order, arrange in dataset.arrange.items():
            yield order, arrange(annotation.class_names)


def _disagreements(
    found: ClipList, annotation: Annotation, names: list[str]
) -> list[str]:
    by_name = {fingerprint_class_names([name]): i for i, name in enumerate(names)}
    label_of = {
        label: by_name.get(fingerprint_class_names([name]))
        for label, name in enumerate(annotation.class_names)
    }
    clips = annotation.splits[found.split]
    wrong = []
    for sample in found.samples:
        if sample.clip not in clips:
            wrong.append(f'{sample.path}: not in the official {found.split} split')
            continue
        official = clips[sample.clip]
        expected = label_of[official] if names else official
        if sample.label != expected:
            own = repr(names[sample.label]) if sample.label < len(names) else 'no class'
            true = repr(annotation.class_names[official]) if names else official
            wrong.append(
                f'{sample.path}: label {sample.label} ({own}), official {true}'
            )
    return wrong


def _check_counts(lists: list[ClipList], report: Report) -> None:
    loses_videos = report.dataset.loses_videos
    for found in lists:
        counts = found.published
        count = len(found.samples)
        if found.version is None:
            found.version = _version_by_count(lists, found)
        if found.version is None:
            expected = ' or '.join(f'{n} ({v})' for v, n in counts.items())
            fits = count in counts.values() or loses_videos
        else:
            expected = f'{counts[found.version]} ({found.version})'
            fits = count == counts[found.version]
            fits |= loses_videos and count < counts[found.version]
        if count in counts.values() and fits:
            continue
        message = f'has {count} clips, expected the published {expected}'
        other = [v for v, n in counts.items() if n == count and v != found.version]
        if other:
            message += f'; {count} is the number of {other[0]}'
        add = report.note if fits else report.unless_partial
        add('count', found.name, message)


def _version_by_count(lists: list[ClipList], found: ClipList) -> str | None:
    """Return the version whose published counts match the lists of both splits."""
    fitting = [
        version
        for version, published in found.label_set.published.items()
        if all(
            published[other.split] == len(other.samples)
            for other in lists
            if other.template == found.template
        )
    ]
    return fitting[0] if len(fitting) == 1 else None


def _describe_classes(
    label_set: LabelSet,
    names: list[str] | None,
    annotations: list[Annotation],
    orders: set[str],
    report: Report,
) -> None:
    arrange, order = report.dataset.arrange, None
    if names is not None:
        order = order_of(label_set, names) or next(
            (
                known
                for known, put in arrange.items()
                for annotation in annotations
                if fingerprint_class_names(put(annotation.class_names))
                == fingerprint_class_names(names)
            ),
            None,
        )
    elif len(orders) == 1:
        (order,) = orders
        names = next(
            arrange[order](a.class_names) for a in annotations if a.class_names
        )
    if names is None:
        return
    fingerprint = fingerprint_class_names(names)
    if fingerprint not in label_set.orders.values():
        known = ', '.join(f'{v} ({k})' for k, v in label_set.orders.items())
        report.unless_partial(
            'class_names',
            label_set.class_file,
            f'the {len(names)} names have fingerprint {fingerprint}, which matches no '
            f'known order: {known}',
        )
    report.facts['classes'][label_set.name] = {
        'count': len(names),
        'fingerprint': fingerprint,
        'label_order': order,
        'left_or_right': {
            label: names[label] for label in sorted(labels_with_direction(names))
        },
    }
