# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Preparation of a dataset: lists, class names and ``preparation.json``."""

import hashlib
import json
import os
from pathlib import Path

from selfy_mmaction.datasets.class_names import fingerprint_class_names

from .layout import SPLITS, Annotation, Dataset, LabelSet
from .list_writing import make_list, scan_media, write_files
from .media_links import link_media

RECORD = 'preparation.json'


def prepare(
    dataset: Dataset,
    raw: str | os.PathLike,
    out: str | os.PathLike,
    label_order: str | None = None,
    label_version: str | None = None,
    allow_partial: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
) -> dict:
    """Prepare a dataset from its official download.

    Correct existing files are kept, so the same call resumes an interrupted run. Media
    outside of ``out`` are linked, not copied.

    Args:
        dataset: Dataset to prepare.
        raw: Folder of the official files and the media.
        out: Folder to write to; created if missing. May be ``raw``.
        label_order: Order of the classes. Default: None, the dataset's default.
        label_version: Version of the labels. Default: None, the dataset's default, or
            all available versions.
        allow_partial: Whether missing clips and unpublished numbers of clips or classes
            are notes instead of errors. Default: False.
        overwrite: Whether to replace files that differ. Default: False.
        workers: Number of threads. Default: None, the number of processors.

    Returns:
        The content of ``preparation.json``.

    Raises:
        FileNotFoundError: If an official file, or all media, are missing.
        FileExistsError: If a file in ``out`` differs from its new content.
        ValueError: If an official file is malformed, clips or frames are missing, or
            the dataset does not have the order or version.

    Example:
        >>> import json, shutil, tempfile
        >>> from pathlib import Path
        >>> from selfy_mmaction.checkpoints import SAMPLE_CLIP
        >>> from selfy_mmaction.data_preparation import DATASETS, prepare
        >>> files = dict(vocab=[['Back', 'Dive'], ['Forward', 'Dive']])
        >>> files['V2_train'] = [dict(vid_name='a', label=1)]
        >>> files['V2_test'] = [dict(vid_name='b', label=0)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, 'rgb').mkdir()
        ...     for name in 'ab':
        ...         _ = shutil.copy(SAMPLE_CLIP, Path(folder, 'rgb', f'{name}.mp4'))
        ...     for name, content in files.items():
        ...         path = Path(folder, f'Diving48_{name}.json')
        ...         _ = path.write_text(json.dumps(content))
        ...     _ = prepare(DATASETS['diving48'], folder, folder, allow_partial=True)
        ...     print(Path(folder, 'diving48_v2_train_list_videos.txt').read_text())
        note: the official files of diving48 v2 have 1 clips in train, ...
        a.mp4 1
    """
    raw, out = Path(raw), Path(out)
    if not raw.is_dir():
        raise FileNotFoundError(f'{raw} is not a folder; pass the download as --raw')
    if out.exists() and not out.is_dir():
        raise FileExistsError(f'{out} is not a folder; choose another --out')
    order = label_order or next(iter(dataset.arrange))
    if order not in dataset.arrange:
        raise ValueError(
            f'{dataset.name} has no label order {order!r}; choose one of '
            f'{", ".join(dataset.arrange)}'
        )
    annotations = _choose_version(
        dataset, raw, label_version or dataset.default_version
    )
    names = {
        annotation.label_set: _order_names(dataset, annotation, order, allow_partial)
        for annotation in annotations
    }
    for annotation in annotations:
        if annotation.repeated:
            print(f'note: {describe_repeated(annotation)}')
        _check_published(dataset, annotation, allow_partial)

    out.mkdir(parents=True, exist_ok=True)
    if dataset.make_media is not None:
        clips = sorted(
            {clip for a in annotations for s in SPLITS for clip in a.splits[s]}
        )
        dataset.make_media(raw, out, clips, workers)

    texts: dict[str, str] = {}
    entries: dict[str, dict[str, dict]] = {name: {} for name in names}
    for media in link_media(dataset, raw, out, overwrite):
        for split in SPLITS:
            wanted = {clip for a in annotations for clip in a.splits[split]}
            scan = scan_media(out, media, split, wanted, workers)
            for annotation in annotations:
                label_set = dataset.label_set(annotation.label_set)
                file = label_set.list_name.format(
                    split=split, kind=media.kind, version=annotation.version
                )
                text, left_out = make_list(
                    file,
                    _label_clips(annotation, split, names[label_set.name]),
                    scan,
                    may_miss=allow_partial or dataset.loses_videos,
                    may_be_damaged=allow_partial,
                )
                texts[file] = text
                entries[label_set.name][file] = {
                    'samples': text.count('\n'),
                    'left_out': left_out,
                    'label_version': annotation.version,
                }
    for name, class_names in names.items():
        texts[dataset.label_set(name).class_file] = ''.join(
            f'{class_name}\n' for class_name in class_names
        )
    write_files(out, texts, overwrite)
    for lists in entries.values():
        for file, entry in lists.items():
            entry['sha256'] = sha256(out / file)
    record = _record(dataset, order, annotations, names, entries)
    write_files(out, {RECORD: json.dumps(record, indent=2) + '\n'}, overwrite=True)
    return record


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while piece := file.read(2**20):  # videos may not fit the memory
            digest.update(piece)
    return digest.hexdigest()


def describe_repeated(annotation: Annotation) -> str:
    """Describe the clips that an annotation lists more than once."""
    return (
        f'the official files of {annotation.label_set} {annotation.version} list '
        f'{len(annotation.repeated)} clips again with the same label (first: '
        f'{annotation.repeated[0]}); each counts once per split'
    )


def order_of(label_set: LabelSet, names: list[str]) -> str | None:
    """Return the name of the order of all class names, or None if unknown."""
    fingerprint = fingerprint_class_names(names)
    return next(
        (name for name, known in label_set.orders.items() if known == fingerprint), None
    )


def _choose_version(
    dataset: Dataset, raw: Path, version: str | None
) -> list[Annotation]:
    annotations = dataset.read_annotations(raw)
    chosen = [a for a in annotations if version in (None, a.version)]
    if not chosen:
        found = sorted({annotation.version for annotation in annotations})
        raise ValueError(
            f'{raw} has no labels of version {version!r}, only {", ".join(found)}; '
            'set --label-version, or download the other files'
        )
    for annotation in chosen:
        if not annotation.class_names:
            raise FileNotFoundError(
                f'class names of {annotation.label_set} not found: expected '
                f'{annotation.label_set}_categories.txt in {raw} or annotations/'
            )
    return chosen


def _order_names(
    dataset: Dataset, annotation: Annotation, order: str, allow_partial: bool
) -> list[str]:
    label_set = dataset.label_set(annotation.label_set)
    names = dataset.arrange[order](annotation.class_names)
    found = order_of(label_set, names)
    if found != order and not allow_partial:
        raise ValueError(
            f'the {len(names)} class names of {label_set.name} do not match the '
            f'order {order!r}: fingerprint {fingerprint_class_names(names)}, expected '
            f'{label_set.orders[order]}'
            + (f' (their order is {found!r})' if found else '')
            + '; the labels file is wrong or incomplete (--allow-partial ignores this)'
        )
    return names


def _check_published(
    dataset: Dataset, annotation: Annotation, allow_partial: bool
) -> None:
    published = dataset.label_set(annotation.label_set).published[annotation.version]
    for split, expected in published.items():
        count = len(annotation.splits[split])
        if count == expected:
            continue
        message = (
            f'the official files of {annotation.label_set} {annotation.version} have '
            f'{count} clips in {split}, but {expected} were published'
        )
        if not (allow_partial or dataset.loses_videos):
            raise ValueError(
                f'{message}; download them again (--allow-partial ignores this)'
            )
        print(f'note: {message}')


def _label_clips(
    annotation: Annotation, split: str, names: list[str]
) -> dict[str, int]:
    label_of = {name: label for label, name in enumerate(names)}
    return {
        clip: label_of[annotation.class_names[label]]
        for clip, label in annotation.splits[split].items()
    }


def _record(
    dataset: Dataset,
    order: str,
    annotations: list[Annotation],
    names: dict[str, list[str]],
    entries: dict[str, dict[str, dict]],
) -> dict:
    label_sets = {
        name: {
            'label_version': [a.version for a in annotations if a.label_set == name],
            'label_order': order,
            'class_file': dataset.label_set(name).class_file,
            'class_fingerprint': fingerprint_class_names(class_names),
            'lists': entries[name],
        }
        for name, class_names in names.items()
    }
    if len(dataset.label_sets) == 1:
        return {'dataset': dataset.name, **label_sets[dataset.name]}
    return {'dataset': dataset.name, 'label_sets': label_sets}
