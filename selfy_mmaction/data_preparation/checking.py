# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Check of a prepared dataset before training."""

import os
from pathlib import Path

from selfy_mmaction.datasets.class_names import fingerprint_class_names

from .check_report import Report
from .decoding import chosen_decoder
from .label_checks import check_label_set, read_annotations
from .layout import Dataset
from .list_checks import check_files_named_twice
from .media_checks import check_media
from .official_files import read_lines
from .prepared_lists import find_lists, read_record
from .preparing import sha256


def check(
    dataset: Dataset,
    out: str | os.PathLike,
    raw: str | os.PathLike | None = None,
    full: bool = False,
    sample: int = 100,
    allow_partial: bool = False,
    workers: int | None = None,
) -> dict:
    """Check a folder written by :func:`prepare` or by mmaction2's scripts.

    Nothing is changed. The header of every video is read and every folder of frames is
    listed. ``sample`` clips per list, or all, are decoded.

    Args:
        dataset: Dataset to check.
        out: Prepared folder.
        raw: Folder of the official files. Default: None, which uses ``out``.
        full: Whether to decode every clip. Default: False.
        sample: Number of clips per list to decode, evenly spread. Default: 100.
        allow_partial: Whether unpublished numbers of clips and classes are notes
            instead of errors. Default: False.
        workers: Number of threads. Default: None, the number of processors.

    Returns:
        Report with ``ok``, ``lists``, ``classes`` and ``findings``.

    Raises:
        FileNotFoundError: If ``out`` is not a folder.
        ValueError: If ``sample`` is negative, the decoder of SELFY_DECODER is not
            available, or an official file, a list, the class names or
            ``preparation.json`` is malformed.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from selfy_mmaction.data_preparation import DATASETS, check
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, 'sthv2_train_list_videos.txt')
        ...     _ = path.write_text('7.webm 173')
        ...     report = check(DATASETS['sthv2'], folder)
        >>> report['ok'], [finding['kind'] for finding in report['findings']]
        (False, ['missing_list', 'no_annotation', 'no_class_names', 'count', 'missing'])
    """
    out = Path(out)
    if not out.is_dir():
        raise FileNotFoundError(
            f'{out} is not a folder; pass the prepared one as --out'
        )
    if sample < 0:
        raise ValueError(f'sample must be at least 0, got {sample}')
    decoder = chosen_decoder()
    # The findings contain what OpenCV would log.
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    report = Report(dataset, out, allow_partial)
    lists = list(find_lists(report))
    annotations = read_annotations(Path(raw) if raw else out, report)
    for label_set in dataset.label_sets:
        own_lists = [found for found in lists if found.label_set is label_set]
        if own_lists:
            own = [a for a in annotations if a.label_set == label_set.name]
            check_label_set(label_set, own_lists, own, report)
    _check_record(report)
    check_files_named_twice(lists, report)
    for found in lists:
        num_decoded = len(found.samples) if full else sample
        check_media(found, num_decoded, decoder, workers, report)
    return report.as_dict()


def _check_record(report: Report) -> None:
    out = report.out
    for entry in read_record(out):
        class_file = entry.field('class_file').text()
        prepared = entry.field('class_fingerprint').text()
        path = out / class_file
        if not os.path.isfile(path):
            report.error('class_names', class_file, 'was prepared, but is missing')
        else:
            fingerprint = fingerprint_class_names(
                line.content for line in read_lines(path)
            )
            if fingerprint != prepared:
                report.error(
                    'class_order',
                    class_file,
                    f'has fingerprint {fingerprint}, but was prepared with {prepared}',
                )
        for name, recorded in entry.field('lists').fields().items():
            if not os.path.isfile(out / name):
                report.error('missing_list', name, 'was prepared, but is missing')
            elif sha256(out / name) != recorded.field('sha256').text():
                report.note('changed', name, 'has changed since it was prepared')
