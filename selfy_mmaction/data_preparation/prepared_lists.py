# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Lists and ``preparation.json`` in a prepared folder."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .check_report import Report
from .layout import SPLITS, LabelSet, Media
from .official_files import INTEGER, Value, read_json, read_lines
from .preparing import RECORD


@dataclass(frozen=True)
class Sample:
    """Line of a list; ``num_frames`` is None for videos."""

    path: str
    label: int
    num_frames: int | None

    @property
    def clip(self) -> str:
        """Name of the clip, without folder and extension."""
        name = self.path.rsplit('/', 1)[-1]
        return name if self.num_frames is not None else os.path.splitext(name)[0]


@dataclass
class ClipList:
    """List in a prepared folder and its content.

    Attributes:
        label_set: Label set of the labels.
        media: Media in the list.
        split: ``'train'`` or ``'val'``.
        template: Name of the list, with ``{split}`` as a placeholder.
        folder: Folder of the listed files.
        version: Version of the labels; None if unknown.
        samples: Lines of the list.
    """

    label_set: LabelSet
    media: Media
    split: str
    template: str
    folder: Path
    version: str | None
    samples: list[Sample] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the list."""
        return self.template.format(split=self.split)

    @property
    def published(self) -> dict[str, int]:
        """Published number of clips per version of the labels."""
        return {
            version: counts[self.split]
            for version, counts in self.label_set.published.items()
        }

    @property
    def has_host_name(self) -> bool:
        """Whether the list has the name that mmaction2's scripts use."""
        return self.template in _host_templates(self.label_set, self.media)


def _host_templates(label_set: LabelSet, media: Media) -> list[str]:
    name = label_set.host_list_names.get(media.kind)
    return [name.format(split='{split}', kind=media.kind)] if name else []


def find_lists(report: Report) -> Iterator[ClipList]:
    """Find and read the lists of the folder and report problems."""
    dataset, out = report.dataset, report.out
    recorded = {
        name: facts.field('label_version')
        for entry in read_record(out)
        for name, facts in entry.field('lists').fields().items()
    }
    templates = [
        (label_set, media, *named)
        for label_set in dataset.label_sets
        for media in dataset.media
        for named in _templates(label_set, media).items()
    ]
    num_found = 0
    for label_set, media, template, version in templates:
        there = [s for s in SPLITS if (out / template.format(split=s)).is_file()]
        for split in SPLITS:
            folder = out / media.folder.format(split=split)
            found = ClipList(label_set, media, split, template, folder, version)
            if split in there:
                num_found += 1
                if found.name in recorded:
                    found.version = _recorded_version(recorded[found.name], label_set)
                _read_list(found, report)
                yield found
            elif there:
                report.error('missing_list', found.name, 'does not exist')
    if not num_found:
        report.error(
            'missing_list',
            dataset.name,
            'no list was found; prepare the dataset, or correct --out. Expected:',
            [template for _, _, template, _ in templates],
        )


def _templates(label_set: LabelSet, media: Media) -> dict[str, str | None]:
    """Map our and mmaction2's list names to the version that the name implies.

    The names contain ``{split}`` as a placeholder.
    """
    versions = list(label_set.published)
    only = versions[0] if len(versions) == 1 else None
    is_named = '{version}' in label_set.list_name
    found = {
        label_set.list_name.format(split='{split}', kind=media.kind, version=version): (
            version if is_named else only
        )
        for version in versions
    }
    return found | dict.fromkeys(_host_templates(label_set, media), only)


def _recorded_version(version: Value, label_set: LabelSet) -> str:
    if version.text() not in label_set.published:
        version.reject(' or '.join(label_set.published))
    return version.text()


def _read_list(found: ClipList, report: Report) -> None:
    num_columns = 2 if found.media.kind == 'videos' else 3
    malformed, repeated, num_contradictory = [], [], 0
    first: dict[str, tuple[str, int]] = {}
    for line in read_lines(report.out / found.name, keep_blank=True):
        (number,) = line.place
        path, *numbers = line.content.split() or ['']
        if len(numbers) != num_columns - 1 or not all(map(INTEGER.fullmatch, numbers)):
            malformed.append(f'{number}: {line.content!r}')
            continue
        *num_frames, label = map(int, numbers)
        sample = Sample(path, label, num_frames[0] if num_frames else None)
        before, known = first.setdefault(sample.clip, (number, label))
        if before != number:
            repeated.append(
                f'{number}: {path} {label}, same clip as {before} with label {known}'
            )
            num_contradictory += label != known
        found.samples.append(sample)
    if malformed:
        columns = 'path label' if num_columns == 2 else 'path frames label'
        report.error(
            'malformed',
            found.name,
            f'{len(malformed)} lines cannot be read; expected "{columns}"',
            malformed,
        )
    if repeated:
        report.error(
            'repeated',
            found.name,
            f'{len(repeated)} lines repeat a clip of an earlier line'
            + f', {num_contradictory} with another label' * bool(num_contradictory),
            repeated,
        )
    if not found.samples:
        report.error('count', found.name, 'has no clips')
    if found.has_host_name:
        report.note(
            'hosts_name',
            found.name,
            "has the name that mmaction2's scripts use, but our configs read another "
            'one: set ann_file of the datasets, or run prepare',
        )


def read_record(out: Path) -> list[Value]:
    """Read the entries of the label sets in ``preparation.json``, if it exists."""
    if not (out / RECORD).exists():
        return []
    record = read_json(out / RECORD)
    if not record.has('label_sets'):
        return [record]
    return list(record.field('label_sets').fields().values())
