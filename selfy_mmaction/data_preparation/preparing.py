# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Write mmaction2's lists, the class names and a record of both."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from selfy_mmaction.atomic_files import replacing
from selfy_mmaction.datasets.class_names import fingerprint_class_names

from .layout import SPLITS, Annotation, DataSet, LabelSet, Media
from .media import VIDEO_SUFFIXES, count_frames, index_media, run_parallel

RECORD = 'preparation.json'


def prepare(
    data_set: DataSet,
    raw: str | os.PathLike,
    out: str | os.PathLike,
    label_order: str | None = None,
    label_version: str | None = None,
    allow_partial: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
) -> dict:
    """Prepare a dataset from its official download.

    What is there already and right is left untouched, so an interrupted run is resumed
    by the same call. Media outside of ``out`` are not copied: a link in ``out`` leads
    to them.

    Args:
        data_set: The dataset.
        raw: Folder of the official files and of the media.
        out: Folder to write to; created if need be. May be ``raw``.
        label_order: Order of the classes. Default: None, the dataset's default.
        label_version: Version of the labels. Default: None, the dataset's default,
            or all that are there.
        allow_partial: Whether missing clips and unknown numbers of clips or classes
            are noted instead of refused. Default: False.
        overwrite: Whether files that differ are replaced. Default: False.
        workers: Number of threads. Default: the number of processors.

    Returns:
        What ``preparation.json`` holds.

    Raises:
        FileNotFoundError: An official file, or every kind of media, is missing.
        FileExistsError: A file in ``out`` differs from what would be written.
        ValueError: An official file cannot be read, clips or frames are missing, or
            an option is not one of the dataset's.
    """
    raw, out = Path(raw), Path(out)
    if not raw.is_dir():
        raise FileNotFoundError(f'{raw} is not a folder; give the download as --raw')
    if out.exists() and not out.is_dir():
        raise FileExistsError(f'{out} is not a folder; choose another --out')
    order = label_order or next(iter(data_set.arrange))
    if order not in data_set.arrange:
        raise ValueError(
            f'{data_set.name} has no label order {order!r}; choose one of '
            f'{", ".join(data_set.arrange)}'
        )
    annotations = _choose_version(
        data_set, raw, label_version or data_set.default_version
    )
    names = {
        annotation.label_set: _order_names(data_set, annotation, order, allow_partial)
        for annotation in annotations
    }
    for annotation in annotations:
        if annotation.repeated:
            print(f'note: {describe_repeated(annotation)}')
        _check_published(data_set, annotation, allow_partial)

    out.mkdir(parents=True, exist_ok=True)
    if data_set.make_media is not None:
        clips = sorted(
            {clip for a in annotations for s in SPLITS for clip in a.splits[s]}
        )
        data_set.make_media(raw, out, clips, workers)

    texts: dict[str, str] = {}
    entries: dict[str, dict[str, dict]] = {name: {} for name in names}
    for media in _link_media(data_set, raw, out, overwrite):
        for split in SPLITS:
            wanted = {clip for a in annotations for clip in a.splits[split]}
            scan = _scan(out, media, split, wanted, workers)
            for annotation in annotations:
                label_set = data_set.label_set(annotation.label_set)
                file = label_set.list_name.format(
                    split=split, kind=media.kind, version=annotation.version
                )
                text, left_out = _make_list(
                    file,
                    _label_clips(annotation, split, names[label_set.name]),
                    scan,
                    may_miss=allow_partial or data_set.loses_videos,
                    may_be_damaged=allow_partial,
                )
                texts[file] = text
                entries[label_set.name][file] = {
                    'samples': text.count('\n'),
                    'left_out': left_out,
                    'label_version': annotation.version,
                }
    for name, class_names in names.items():
        texts[data_set.label_set(name).class_file] = ''.join(
            f'{class_name}\n' for class_name in class_names
        )
    _write(out, texts, overwrite)
    for lists in entries.values():
        for file, entry in lists.items():
            entry['sha256'] = sha256(out / file)
    record = _record(data_set, order, annotations, names, entries)
    _write(out, {RECORD: json.dumps(record, indent=2) + '\n'}, overwrite=True)
    return record


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def describe_repeated(annotation: Annotation) -> str:
    """What to say of an annotation that names clips more than once."""
    return (
        f'the official files of {annotation.label_set} {annotation.version} name '
        f'{len(annotation.repeated)} clips again with the same label, the first is '
        f'{annotation.repeated[0]}; each counts once in a split'
    )


def order_of(label_set: LabelSet, names: list[str]) -> str | None:
    """Name of the order of a full set of class names, if it is a known one."""
    fingerprint = fingerprint_class_names(names)
    return next(
        (name for name, known in label_set.orders.items() if known == fingerprint), None
    )


def _choose_version(
    data_set: DataSet, raw: Path, version: str | None
) -> list[Annotation]:
    annotations = data_set.read_annotations(raw)
    chosen = [a for a in annotations if version in (None, a.version)]
    if not chosen:
        found = sorted({annotation.version for annotation in annotations})
        raise ValueError(
            f'{raw} has no labels of version {version!r}, but {", ".join(found)}; '
            'choose with --label-version, or download the other files'
        )
    for annotation in chosen:
        if not annotation.class_names:
            raise FileNotFoundError(
                f'class names of {annotation.label_set} not found: expected '
                f'{annotation.label_set}_categories.txt in {raw} or annotations/'
            )
    return chosen


def _order_names(
    data_set: DataSet, annotation: Annotation, order: str, allow_partial: bool
) -> list[str]:
    label_set = data_set.label_set(annotation.label_set)
    names = data_set.arrange[order](annotation.class_names)
    found = order_of(label_set, names)
    if found != order and not allow_partial:
        raise ValueError(
            f'the {len(names)} class names of {label_set.name} are not those of the '
            f'order {order!r}: fingerprint {fingerprint_class_names(names)}, expected '
            f'{label_set.orders[order]}'
            + (f' (these are in the order {found!r})' if found else '')
            + '; the labels file is another or incomplete (--allow-partial goes on)'
        )
    return names


def _check_published(
    data_set: DataSet, annotation: Annotation, allow_partial: bool
) -> None:
    published = data_set.label_set(annotation.label_set).published[annotation.version]
    for split, expected in published.items():
        count = len(annotation.splits[split])
        if count == expected:
            continue
        message = (
            f'the official files of {annotation.label_set} {annotation.version} have '
            f'{count} clips in {split}, but {expected} were published'
        )
        if not (allow_partial or data_set.loses_videos):
            raise ValueError(f'{message}; fetch them again (--allow-partial goes on)')
        print(f'note: {message}')


def _link_media(
    data_set: DataSet, raw: Path, out: Path, overwrite: bool
) -> list[Media]:
    """The kinds of media that are there, in ``out`` or linked from it."""
    present = []
    for media in data_set.media:
        folders = {split: media.folder.format(split=split) for split in SPLITS}
        for split, folder in folders.items():
            sources = [
                raw / name.format(split=split)
                for name in media.raw_folders
                if (raw / name.format(split=split)).is_dir()
            ]
            if sources:
                _link(out / folder, sources[0], overwrite)
        there = {split for split in SPLITS if (out / folders[split]).is_dir()}
        if len(there) == len(SPLITS):
            present.append(media)
        elif there:
            raise FileNotFoundError(
                f'{out} has only the {media.kind} of {", ".join(there)}; expected '
                f'{" and ".join(folders.values())}'
            )
    if not present:
        wanted = [name for media in data_set.media for name in media.raw_folders]
        raise FileNotFoundError(
            f'no videos or frames of {data_set.name} found; expected one of '
            f'{", ".join(wanted)} in {raw}'
        )
    return present


def _link(target: Path, source: Path, overwrite: bool) -> None:
    if target.is_symlink() and target.resolve() != source.resolve():
        if not overwrite:
            raise FileExistsError(
                f'{target} leads to {os.readlink(target)}, not to {source}; use '
                '--overwrite, or delete the link'
            )
        target.unlink()
    # A folder of its own in `out` wins: the lists are read from there.
    if not target.exists():
        target.symlink_to(source.resolve(), target_is_directory=True)


@dataclass(frozen=True)
class _Scan:
    """What a folder of media holds: the path, and the frames, of each clip."""

    folder: Path
    first_frame: str
    paths: dict[str, str]
    frames: dict[str, tuple[int, list[str]]] | None


def _scan(
    out: Path, media: Media, split: str, wanted: set[str], workers: int | None
) -> _Scan:
    folder = out / media.folder.format(split=split)
    paths = index_media(folder, media.kind, media.depth)
    frames = None
    if media.kind == 'rawframes':
        clips = sorted(wanted & paths.keys())
        counts = run_parallel(
            lambda clip: count_frames(folder / paths[clip], media.frame_name),
            clips,
            workers,
            f'counting the frames of {split}',
        )
        frames = dict(zip(clips, counts, strict=True))
    return _Scan(folder, media.frame_name.format(1), paths, frames)


def _label_clips(
    annotation: Annotation, split: str, names: list[str]
) -> dict[str, int]:
    label_of = {name: label for label, name in enumerate(names)}
    return {
        clip: label_of[annotation.class_names[label]]
        for clip, label in annotation.splits[split].items()
    }


def _make_list(
    name: str, clips: dict[str, int], scan: _Scan, may_miss: bool, may_be_damaged: bool
) -> tuple[str, int]:
    """Text of a list, and the number of clips that are not in it."""
    missing = [clip for clip in clips if clip not in scan.paths]
    if missing:
        endings = f' as {", ".join(VIDEO_SUFFIXES)}' if scan.frames is None else ''
        message = (
            f'{len(missing)} of {len(clips)} clips are not in {scan.folder}{endings}, '
            f'the first is {missing[0]!r}'
        )
        if not may_miss:
            raise ValueError(
                f'{message}; complete the download (--allow-partial leaves them out)'
            )
        print(f'note: {message}; they are left out')
    there = [clip for clip in clips if clip in scan.paths]
    damaged, lines = [], []
    for clip in there:
        number, gaps = scan.frames[clip] if scan.frames is not None else (None, [])
        if number is None:
            lines.append(f'{scan.paths[clip]} {clips[clip]}\n')
        elif gaps or not number:
            damaged.append(f'{clip} (without {gaps[0] if gaps else scan.first_frame})')
        else:
            lines.append(f'{scan.paths[clip]} {number} {clips[clip]}\n')
    if damaged:
        message = f'{len(damaged)} clips in {scan.folder} lack frames: {damaged[0]}'
        if not may_be_damaged:
            raise ValueError(
                f'{message}; unpack them again (--allow-partial leaves them out)'
            )
        print(f'note: {message}, ...; they are left out')
    if not lines:
        raise ValueError(
            f'{name} would be empty: {scan.folder} has none of the {len(clips)} clips '
            'that the official files name; put them there'
        )
    return ''.join(lines), len(missing) + len(damaged)


def _record(
    data_set: DataSet,
    order: str,
    annotations: list[Annotation],
    names: dict[str, list[str]],
    entries: dict[str, dict[str, dict]],
) -> dict:
    label_sets = {
        name: {
            'label_version': [a.version for a in annotations if a.label_set == name],
            'label_order': order,
            'class_file': data_set.label_set(name).class_file,
            'class_fingerprint': fingerprint_class_names(class_names),
            'lists': entries[name],
        }
        for name, class_names in names.items()
    }
    if len(data_set.label_sets) == 1:
        return {'dataset': data_set.name, **label_sets[data_set.name]}
    return {'dataset': data_set.name, 'label_sets': label_sets}


def _write(out: Path, texts: dict[str, str], overwrite: bool) -> None:
    changed = []
    for name, text in texts.items():
        path = out / name
        if path.exists() and _same(path, text):
            continue
        if path.exists() and not overwrite:
            raise FileExistsError(
                f'{path} is there and differs from what was to be written: compare '
                'them, then use --overwrite or another --out'
            )
        changed.append(path)
    for path in changed:
        with replacing(path) as partial:
            partial.write_bytes(texts[path.name].encode())


def _same(path: Path, text: str) -> bool:
    there, wanted = path.read_bytes(), text.encode()
    if there == wanted:
        return True
    # mmaction2's scripts shuffle the lists, which is as right.
    return '_list_' in path.name and sorted(there.splitlines()) == sorted(
        wanted.splitlines()
    )
