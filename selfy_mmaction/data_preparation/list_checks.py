# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Checks of label range, splits and duplicates in the lists."""

import os
from collections import defaultdict

from .check_report import Report
from .layout import SPLITS
from .prepared_lists import ClipList, Sample


def check_range(found: ClipList, num_classes: int, report: Report) -> None:
    """Report labels outside the classes."""
    beyond = [
        f'{sample.path} {sample.label}'
        for sample in found.samples
        if sample.label >= num_classes
    ]
    if beyond:
        report.error(
            'label_range',
            found.name,
            f'{len(beyond)} labels are outside 0 to {num_classes - 1}',
            beyond,
        )


def check_splits(lists: list[ClipList], report: Report) -> None:
    """Report clips that are in both splits of a label set."""
    groups = defaultdict(list)
    for found in lists:
        groups[found.template].append({sample.clip for sample in found.samples})
    for template, group in groups.items():
        both = sorted(set.intersection(*group)) if len(group) == len(SPLITS) else []
        if both:
            report.error(
                'both_splits',
                template,
                f'{len(both)} clips are in both train and val',
                both,
            )


def check_files_named_twice(lists: list[ClipList], report: Report) -> None:
    """Report clips with different names that are the same file."""
    owners: dict[tuple, tuple[ClipList, Sample]] = {}
    duplicates = defaultdict(list)
    for found in lists:
        for sample in found.samples:
            try:
                status = os.stat(found.folder / sample.path)
            except (OSError, ValueError):  # the media check reports missing files
                continue
            if not status.st_ino:  # not supported by the file system
                continue
            key = (found.template, status.st_dev, status.st_ino)
            owner, known = owners.setdefault(key, (found, sample))
            if known.clip != sample.clip:
                kind = 'repeated' if owner is found else 'both_splits'
                duplicates[kind, found.name].append(
                    f'{sample.path} {sample.label} is the same file as {known.path} '
                    f'{known.label} in {owner.name}'
                )
    for (kind, name), examples in duplicates.items():
        report.error(
            kind,
            name,
            f'{len(examples)} clips are the same file as a clip with another name',
            examples,
        )
