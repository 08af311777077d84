# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Tell whether training on a prepared data set would be right."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from selfy_mmaction.datasets.class_names import (
    fingerprint_class_names,
    labels_with_direction,
    read_class_names,
)

from .decoding import chosen_decoder, decoding_problems
from .layout import SPLITS, Annotation, DataSet, LabelSet, Media
from .media import (
    count_frames,
    frames_problem,
    progress_bar,
    run_parallel,
    video_problem,
    without_damage,
    worth_decoding,
)
from .official_files import INTEGER, Value, read_json, read_lines, read_text
from .preparing import RECORD, describe_repeated, order_of, sha256

NUM_EXAMPLES = 5

PROBLEMS = {
    'missing': 'do not exist',
    'empty': 'are empty',
    'truncated': 'are truncated',
    'unreadable': 'cannot be read: fetch them again, or, where their codec or size is '
    'to blame, set SELFY_DECODER=PyAV (pip install av) or encode them again (ffmpeg -i '
    'IN -c:v libx264 -pix_fmt yuv420p OUT.mp4)',
    'other_frames': 'give other frames than they should: encode them again (ffmpeg -i '
    'IN -c:v libx264 -pix_fmt yuv420p OUT.mp4) or choose another SELFY_DECODER',
    'length': 'end before the length that their container announces: fetch them again',
    'rotated': 'are to be turned upright by their display matrix, which many tools '
    'ignore: frames extracted with those lie on their side',
    'frame_count': 'have another number of frames than the list says',
    'missing_frames': 'lack frames',
}


@dataclass(frozen=True)
class Sample:
    """A line of a list."""

    path: str
    label: int
    num_frames: int | None

    @property
    def clip(self) -> str:
        name = self.path.rsplit('/', 1)[-1]
        return name if self.num_frames is not None else os.path.splitext(name)[0]


@dataclass
class ClipList:
    """A list that was found, and what was read from it."""

    label_set: LabelSet
    media: Media
    split: str
    template: str
    version: str | None
    samples: list[Sample] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.template.format(split=self.split)

    @property
    def is_hosts(self) -> bool:
        """Whether mmaction2's scripts named it."""
        return self.template in _host_templates(self.label_set, self.media)


def _host_templates(label_set: LabelSet, media: Media) -> list[str]:
    name = label_set.host_list_names.get(media.kind)
    return [name.format(split='{split}', kind=media.kind)] if name else []


class Report:
    """What was found: facts, errors and notes."""

    def __init__(self, data_set: DataSet, out: Path) -> None:
        self.facts = {'dataset': data_set.name, 'folder': str(out)}
        self.facts |= {'lists': {}, 'classes': {}}
        self.findings: list[dict] = []

    def error(
        self, kind: str, where: str, message: str, examples: Iterable[str] = ()
    ) -> None:
        """Note something with which training would be wrong."""
        self._add('error', kind, where, message, examples)

    def note(
        self, kind: str, where: str, message: str, examples: Iterable[str] = ()
    ) -> None:
        """Note something that is worth knowing and does not make training wrong."""
        self._add('note', kind, where, message, examples)

    def _add(self, level, kind, where, message, examples) -> None:
        self.findings.append(
            dict(
                level=level,
                kind=kind,
                where=where,
                message=message,
                examples=list(examples)[:NUM_EXAMPLES],
            )
        )

    def as_dict(self) -> dict:
        """The report, ready for JSON; ``ok`` says whether there was no error."""
        found = {finding['level'] for finding in self.findings}
        return {'ok': 'error' not in found, **self.facts, 'findings': self.findings}


def check(
    data_set: DataSet,
    out: str | os.PathLike,
    raw: str | os.PathLike | None = None,
    full: bool = False,
    sample: int = 100,
    allow_partial: bool = False,
    workers: int | None = None,
) -> dict:
    """Check a folder that ``prepare`` or mmaction2's scripts wrote.

    Nothing is changed. The header of every video is read, and every folder of frames
    is listed; ``sample`` clips of each list, or all, are decoded.

    Args:
        data_set: The data set.
        out: The folder.
        raw: Folder of the official files. Default: None, ``out``.
        full: Whether to decode every clip. Default: False.
        sample: Clips of each list to decode, evenly spread. Default: 100.
        allow_partial: Whether numbers of clips and classes that are not the published
            ones are noted instead of counted as errors. Default: False.
        workers: Number of threads. Default: the number of processors.

    Returns:
        ``ok``, ``lists``, ``classes`` and ``findings``.

    Raises:
        FileNotFoundError: ``out`` is not a folder.
        ValueError: ``sample`` is negative, SELFY_DECODER cannot be used, or an official
            file, a list, the class names or the record is not readable as such.
    """
    out = Path(out)
    if not out.is_dir():
        raise FileNotFoundError(f'{out} is not a folder; give what was prepared')
    if sample < 0:
        raise ValueError(f'sample must be at least 0, got {sample}')
    decoder = chosen_decoder()
    # The findings say what OpenCV would say.
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    report = Report(data_set, out)
    lists = list(_find_lists(data_set, out, report))
    annotations = _read_annotations(data_set, Path(raw) if raw else out, report)
    for label_set in data_set.label_sets:
        own_lists = [found for found in lists if found.label_set is label_set]
        if own_lists:
            own = [a for a in annotations if a.label_set == label_set.name]
            _check_label_set(
                data_set, label_set, out, own_lists, own, allow_partial, report
            )
    _check_record(out, report)
    _check_files_named_twice(lists, out, report)
    for found in lists:
        num_decoded = len(found.samples) if full else sample
        _check_media(found, out, num_decoded, decoder, workers, report)
    return report.as_dict()


def _find_lists(data_set: DataSet, out: Path, report: Report) -> Iterator[ClipList]:
    recorded = {
        name: facts.field('label_version')
        for entry in _read_record(out)
        for name, facts in entry.field('lists').fields().items()
    }
    templates = [
        (label_set, media, template)
        for label_set in data_set.label_sets
        for media in data_set.media
        for template in _templates(label_set, media)
    ]
    num_found = 0
    for label_set, media, template in templates:
        there = [s for s in SPLITS if (out / template.format(split=s)).is_file()]
        for split in SPLITS:
            found = ClipList(label_set, media, split, template, None)
            if split in there:
                num_found += 1
                found.version = _version_by_name(found, recorded)
                _read_list(found, out, report)
                yield found
            elif there:
                report.error('missing_list', found.name, 'does not exist')
    if not num_found:
        report.error(
            'missing_list',
            data_set.name,
            'no list was found; prepare the data set, or correct --out. Looked for:',
            [template for _, _, template in templates],
        )


def _templates(label_set: LabelSet, media: Media) -> list[str]:
    """Names of a list, own and mmaction2's, with ``{split}`` left open."""
    own = [
        label_set.list_name.format(split='{split}', kind=media.kind, version=version)
        for version in label_set.published
    ]
    return [*dict.fromkeys(own), *_host_templates(label_set, media)]


def _version_by_name(found: ClipList, recorded: dict[str, Value]) -> str | None:
    label_set = found.label_set
    if found.name in recorded:
        version = recorded[found.name].text()
        if version not in label_set.published:
            recorded[found.name].refuse(' or '.join(label_set.published))
        return version
    if '{version}' in label_set.list_name and not found.is_hosts:
        return next(
            version
            for version in label_set.published
            if label_set.list_name.format(
                split=found.split, kind=found.media.kind, version=version
            )
            == found.name
        )
    versions = list(label_set.published)
    return versions[0] if len(versions) == 1 else None


def _read_list(found: ClipList, out: Path, report: Report) -> None:
    num_columns = 2 if found.media.kind == 'videos' else 3
    malformed, repeated, num_contradictory = [], [], 0
    first: dict[str, tuple[str, int]] = {}
    for line in read_lines(out / found.name, keep_blank=True):
        (number,) = line.place
        path, *numbers = line.content.split() or ['']
        if len(numbers) != num_columns - 1 or not all(map(INTEGER.fullmatch, numbers)):
            malformed.append(f'{number}: {line.content!r}')
            continue
        *num_frames, label = map(int, numbers)
        sample = Sample(path, label, num_frames[0] if num_frames else None)
        before, known = first.setdefault(sample.clip, (number, label))
        if before != number:
            repeated.append(f'{number}: {path} {label}, as {before} with label {known}')
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
            f'{len(repeated)} lines name a clip that an earlier line names'
            + f', {num_contradictory} with another label' * bool(num_contradictory),
            repeated,
        )
    if not found.samples:
        report.error('count', found.name, 'has no clips')
    if found.is_hosts:
        report.note(
            'hosts_name',
            found.name,
            "has the name that mmaction2's scripts give it; our configs read another: "
            'set ann_file of the data sets, or run prepare',
        )


def _read_annotations(
    data_set: DataSet, root: Path, report: Report
) -> list[Annotation]:
    try:
        annotations = data_set.read_annotations(root)
    except FileNotFoundError as error:
        report.note(
            'no_annotation',
            data_set.name,
            'the labels were not held against the official files, whose folder can be '
            f'given as --raw: {error}',
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


def _check_label_set(
    data_set: DataSet,
    label_set: LabelSet,
    out: Path,
    lists: list[ClipList],
    annotations: list[Annotation],
    allow_partial: bool,
    report: Report,
) -> None:
    names = _read_names(label_set, out, report)
    for found in lists:
        _check_range(found, len(names) if names else label_set.num_classes, report)
    orders = set()
    for found in lists:
        orders |= _check_against_annotation(data_set, found, annotations, names, report)
    if len(orders) > 1:
        report.error(
            'class_order',
            label_set.name,
            f'the lists follow different orders of the classes: {", ".join(orders)}',
        )
    _check_counts(data_set, label_set, lists, allow_partial, report)
    _check_splits(lists, report)
    _describe_classes(
        data_set, label_set, names, annotations, orders, allow_partial, report
    )
    for found in lists:
        labels = [sample.label for sample in found.samples]
        report.facts['lists'][found.name] = {
            'label_set': label_set.name,
            'label_version': found.version,
            'split': found.split,
            'kind': found.media.kind,
            'samples': len(labels),
            'published': {
                version: counts[found.split]
                for version, counts in label_set.published.items()
            },
            'classes': len(set(labels)),
        }


def _read_names(label_set: LabelSet, out: Path, report: Report) -> list[str] | None:
    path = out / label_set.class_file
    if not path.exists():
        report.note(
            'no_class_names',
            label_set.class_file,
            'does not exist: the names of the labels are not known, and SelectiveFlip '
            'refuses to start where a config has it. prepare writes it and keeps '
            'lists that are right',
        )
        return None
    read_text(path)  # what is no text ends the check
    try:
        return read_class_names(str(path))
    except ValueError as error:
        report.error('class_names', label_set.class_file, str(error))
        return None


def _check_range(found: ClipList, num_classes: int, report: Report) -> None:
    beyond = [
        f'{sample.path} {sample.label}'
        for sample in found.samples
        if sample.label >= num_classes
    ]
    if beyond:
        report.error(
            'label_range',
            found.name,
            f'{len(beyond)} labels are beyond 0 to {num_classes - 1}',
            beyond,
        )


def _check_against_annotation(
    data_set: DataSet,
    found: ClipList,
    annotations: list[Annotation],
    names: list[str] | None,
    report: Report,
) -> set[str]:
    """Hold a list against the official labels by name, and tell its version.

    Returns:
        The orders of the classes that the list follows, where there are no names.
    """
    candidates = []
    for annotation in annotations:
        if found.version not in (None, annotation.version):
            continue
        for order, arranged in _arranged(data_set, annotation, names):
            wrong = _disagreements(found, annotation, arranged)
            candidates.append((len(wrong), annotation.version, order, wrong))
    if not candidates:
        if annotations:
            report.note(
                'no_annotation',
                found.name,
                f'no official files of its version {found.version} to hold it against',
            )
        return set()
    fewest, version, order, wrong = min(candidates, key=lambda entry: entry[0])
    if fewest:
        report.error(
            'class_order' if names else 'labels',
            found.name,
            f'{fewest} of {len(found.samples)} clips do not have the class that the '
            f'official files ({version}) give them: the order of the classes, or the '
            'version of the labels, is another',
            wrong,
        )
        return set()
    found.version = version
    return {order} if order else set()


def _arranged(
    data_set: DataSet, annotation: Annotation, names: list[str] | None
) -> Iterator[tuple[str | None, list[str]]]:
    """Class names in the order of the labels: the file's, or each that is in use."""
    if not annotation.class_names:
        yield None, []
    elif names is not None:
        yield None, names
    else:
        for order, arrange in data_set.arrange.items():
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
            said = (
                repr(names[sample.label]) if sample.label < len(names) else 'no class'
            )
            true = repr(annotation.class_names[official]) if names else official
            wrong.append(
                f'{sample.path}: label {sample.label} ({said}), official {true}'
            )
    return wrong


def _check_counts(
    data_set: DataSet,
    label_set: LabelSet,
    lists: list[ClipList],
    allow_partial: bool,
    report: Report,
) -> None:
    for found in lists:
        counts = {
            version: splits[found.split]
            for version, splits in label_set.published.items()
        }
        count = len(found.samples)
        if found.version is None:
            found.version = _version_by_count(lists, found)
        if found.version is None:
            expected = ' or '.join(f'{n} ({v})' for v, n in counts.items())
            fits = count in counts.values() or data_set.loses_videos
        else:
            expected = f'{counts[found.version]} ({found.version})'
            fits = count == counts[found.version]
            fits |= data_set.loses_videos and count < counts[found.version]
        if count in counts.values() and fits:
            continue
        message = f'has {count} clips, published were {expected}'
        other = [v for v, n in counts.items() if n == count and v != found.version]
        if other:
            message += f'; {count} is the number of {other[0]}'
        if fits or allow_partial:
            report.note('count', found.name, message)
        else:
            report.error('count', found.name, message)


def _version_by_count(lists: list[ClipList], found: ClipList) -> str | None:
    """The one version whose published numbers the lists of both splits have."""
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


def _check_splits(lists: list[ClipList], report: Report) -> None:
    groups = defaultdict(list)
    for found in lists:
        groups[found.template].append({sample.clip for sample in found.samples})
    for template, group in groups.items():
        both = sorted(set.intersection(*group)) if len(group) == len(SPLITS) else []
        if both:
            report.error(
                'both_splits',
                template,
                f'{len(both)} clips are in train and in val',
                both,
            )


def _check_files_named_twice(lists: list[ClipList], out: Path, report: Report) -> None:
    """Find clips of two names that are one file, by links or by spelling."""
    owners: dict[tuple, tuple[ClipList, Sample]] = {}
    doubles = defaultdict(list)
    for found in lists:
        folder = _media_folder(found, out)
        for sample in found.samples:
            try:
                status = os.stat(folder / sample.path)
            except (OSError, ValueError):  # a missing one is found with the media
                continue
            if not status.st_ino:  # a file system that does not tell
                continue
            key = (found.template, status.st_dev, status.st_ino)
            owner, known = owners.setdefault(key, (found, sample))
            if known.clip != sample.clip:
                kind = 'repeated' if owner is found else 'both_splits'
                doubles[kind, found.name].append(
                    f'{sample.path} {sample.label} is the file of {known.path} '
                    f'{known.label} in {owner.name}'
                )
    for (kind, name), examples in doubles.items():
        report.error(
            kind,
            name,
            f'{len(examples)} clips are the same files as others of another name',
            examples,
        )


def _media_folder(found: ClipList, out: Path) -> Path:
    return out / found.media.folder.format(split=found.split)


def _describe_classes(
    data_set: DataSet,
    label_set: LabelSet,
    names: list[str] | None,
    annotations: list[Annotation],
    orders: set[str],
    allow_partial: bool,
    report: Report,
) -> None:
    order = None
    if names is not None:
        order = order_of(label_set, names) or next(
            (
                known
                for known, arrange in data_set.arrange.items()
                for annotation in annotations
                if fingerprint_class_names(arrange(annotation.class_names))
                == fingerprint_class_names(names)
            ),
            None,
        )
    elif len(orders) == 1:
        (order,) = orders
        names = next(
            data_set.arrange[order](a.class_names) for a in annotations if a.class_names
        )
    if names is None:
        return
    fingerprint = fingerprint_class_names(names)
    if fingerprint not in label_set.orders.values():
        known = ', '.join(f'{v} ({k})' for k, v in label_set.orders.items())
        add = report.note if allow_partial else report.error
        add(
            'class_names',
            label_set.class_file,
            f'the {len(names)} names have the fingerprint {fingerprint}, which is not '
            f'that of a known order: {known}',
        )
    report.facts['classes'][label_set.name] = {
        'count': len(names),
        'fingerprint': fingerprint,
        'label_order': order,
        'left_or_right': {
            label: names[label] for label in sorted(labels_with_direction(names))
        },
    }


def _read_record(out: Path) -> list[Value]:
    """The entries of the label sets in the record, where there is one."""
    if not (out / RECORD).exists():
        return []
    record = read_json(out / RECORD)
    if not record.has('label_sets'):
        return [record]
    return list(record.field('label_sets').fields().values())


def _check_record(out: Path, report: Report) -> None:
    for entry in _read_record(out):
        class_file = entry.field('class_file').text()
        prepared = entry.field('class_fingerprint').text()
        path = out / class_file
        if not os.path.isfile(path):
            report.error('class_names', class_file, 'was prepared, is missing')
        else:
            fingerprint = fingerprint_class_names(
                line.content for line in read_lines(path)
            )
            if fingerprint != prepared:
                report.error(
                    'class_order',
                    class_file,
                    f'has the fingerprint {fingerprint}, but was prepared with '
                    f'{prepared}',
                )
        for name, recorded in entry.field('lists').fields().items():
            if not os.path.isfile(out / name):
                report.error('missing_list', name, 'was prepared, is missing')
            elif sha256(out / name) != recorded.field('sha256').text():
                report.note('changed', name, 'was changed since it was prepared')


def _check_media(
    found: ClipList,
    out: Path,
    num_decoded: int,
    decoder: str,
    workers: int | None,
    report: Report,
) -> None:
    folder = _media_folder(found, out)
    if not folder.is_dir():
        report.error(
            'missing',
            found.name,
            f'its clips should be in {folder}, which does not exist; put them there, '
            'or a link to them',
        )
        return
    num_decoded = min(num_decoded, len(found.samples))
    decoded = {i * len(found.samples) // num_decoded for i in range(num_decoded)}

    if found.media.kind == 'videos':
        problems = _video_problems(found, folder, decoded, decoder, workers)
    else:
        problems = run_parallel(
            lambda index: _clip_frames_problem(
                folder, found.samples[index], found.media.frame_name, index in decoded
            ),
            range(len(found.samples)),
            workers,
            f'checking {found.name}',
        )
    groups = defaultdict(list)
    for sample, problem in zip(found.samples, problems, strict=True):
        if problem:
            groups[problem[0]].append(f'{sample.path} {problem[1]}')
    for kind, examples in groups.items():
        add = report.note if kind == 'rotated' else report.error
        add(
            kind,
            found.name,
            f'{len(examples)} of {len(found.samples)} clips {PROBLEMS[kind]}',
            examples,
        )
    report.facts['lists'][found.name]['decoded'] = len(decoded)


def _video_problems(
    found: ClipList,
    folder: Path,
    decoded: set[int],
    decoder: str,
    workers: int | None,
) -> list[tuple[str, str] | None]:
    """Look at the header of every video, and decode some."""
    paths = [folder / sample.path for sample in found.samples]
    problems = run_parallel(video_problem, paths, workers, f'checking {found.name}')
    chosen = [
        index
        for index, problem in enumerate(problems)
        if worth_decoding(problem, decoder)
        and (index in decoded or problem != without_damage(problem))
    ]
    with progress_bar(len(chosen), f'decoding {found.name}') as progress:
        results = decoding_problems(
            [paths[index] for index in chosen], decoder, workers, progress
        )
    for index, problem in zip(chosen, results, strict=True):
        problems[index] = problem or without_damage(problems[index])
    return problems


def _clip_frames_problem(
    folder: Path, sample: Sample, frame_name: str, decode: bool
) -> tuple[str, str] | None:
    folder = folder / sample.path
    if not os.path.isdir(folder):
        return 'missing', 'does not exist'
    last, gaps = count_frames(folder, frame_name)
    if not last:
        return 'empty', f'has no frame named {frame_name.format(1)}'
    if gaps:
        return 'missing_frames', f'lacks {gaps[0]}'
    if last != sample.num_frames:
        return 'frame_count', f'has {last} frames, the list says {sample.num_frames}'
    if decode:
        return frames_problem(folder, [frame_name.format(i + 1) for i in range(last)])
    return None


def show(report: dict) -> str:
    """A report as text.

    Args:
        report: What ``check`` returns.

    Returns:
        A table of the lists, the classes, and the findings, errors first.
    """
    rows = [('list', 'labels', 'clips', 'published', 'classes', 'decoded')]
    for name, facts in report['lists'].items():
        version, published = facts['label_version'], facts['published']
        rows.append(
            (
                name,
                version or 'unknown',
                str(facts['samples']),
                str(published[version])
                if version
                else ' or '.join(str(n) for n in published.values()),
                str(facts['classes']),
                str(facts.get('decoded', 0)),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    for name, facts in report['classes'].items():
        lines += [
            '',
            f'{name}: {facts["count"]} classes, order '
            f'{facts["label_order"] or "unknown"}, fingerprint {facts["fingerprint"]}',
        ]
        if facts['left_or_right']:
            lines.append('left or right in the name, never flipped:')
        lines += [f'  {label:>4} {x}' for label, x in facts['left_or_right'].items()]
    for level in ('error', 'note'):
        for finding in report['findings']:
            if finding['level'] == level:
                lines += ['', f'{level}: {finding["where"]}: {finding["message"]}']
                lines += [f'    {example}' for example in finding['examples']]
    lines += ['', 'ok' if report['ok'] else 'NOT OK: training on it would be wrong']
    return '\n'.join(line.rstrip() for line in lines)
