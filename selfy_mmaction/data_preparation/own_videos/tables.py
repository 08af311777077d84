# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Clips in a CSV or TSV file with the columns path, label, group and split."""

import csv
import io
import os
from pathlib import Path

from selfy_mmaction.text_files import read_text

from .clips import SPLIT_NAMES, Clip, Source, name_some, natural_key, tidy_label

COLUMNS = ('path', 'label', 'group', 'split')
DELIMITERS = {',': 'comma', ';': 'semicolon', '\t': 'tab', '|': 'bar'}
TAB_SUFFIXES = ('.tsv', '.tab')
EXPECTED = (
    'expected the columns path and label, and perhaps group and split, named in the '
    'first line'
)


def read_table(table: Path) -> Source:
    """Read the clips of a CSV or TSV file in UTF-8.

    Paths are relative to the folder of the file, or absolute. The delimiter is a tab
    for ``.tsv`` and ``.tab``, else the one of comma, semicolon, tab and bar that gives
    all lines the same number of columns. Without a line of column names, the columns
    are path and label.

    Args:
        table: The file.

    Raises:
        FileNotFoundError: If a video does not exist.
        ValueError: If the file is not text in UTF-8, a column or a value is missing, a
            split is unknown, or a video has two labels.
    """
    rows = _read_rows(table)
    number, first = rows[0]
    names = [cell.strip().lower() for cell in first]
    notes = []
    if 'path' in names and 'label' in names:
        doubled = [name for name in COLUMNS if names.count(name) > 1]
        if doubled:
            raise ValueError(f'{table}, line {number} has two columns {doubled[0]!r}')
        del rows[0]
        others = [name for name in names if name not in COLUMNS]
        if others:
            notes.append(f'{table}: columns that are not used: {name_some(others)}')
    elif len(names) == 2:
        names = ['path', 'label']
    else:
        raise ValueError(
            f'{table}, line {number} has {len(names)} columns ({", ".join(first)}); '
            f'{EXPECTED}'
        )
    if not rows:
        raise ValueError(f'{table} names no video; add lines with a path and a label')
    source = Source(table.parent, _read_clips(table, names, rows), notes=notes)
    source.clips.sort(key=lambda clip: natural_key(clip.path))
    return source


def _read_rows(table: Path) -> list[tuple[int, list[str]]]:
    """Return the rows that are not blank, with the numbers of their last lines."""
    text = read_text(table)
    wanted = ['\t'] if table.suffix.lower() in TAB_SUFFIXES else list(DELIMITERS)
    problems = []
    for delimiter in wanted:
        reader = csv.reader(
            io.StringIO(text, newline=''), delimiter=delimiter, strict=True
        )
        try:
            rows = [
                (reader.line_num, row) for row in reader if any(map(str.strip, row))
            ]
        except csv.Error as error:
            problems.append(
                f'{table}, line {reader.line_num} is not valid CSV ({error}); check '
                'the quotes'
            )
            continue
        if not rows:
            raise ValueError(f'{table} is empty; {EXPECTED}')
        width = len(rows[0][1])
        odd = [(number, row) for number, row in rows if len(row) != width]
        if width > 1 and not odd:
            return rows
        if width > 1:
            number, row = odd[0]
            problems.append(
                f'{table}, line {number} has {len(row)} columns with a '
                f'{DELIMITERS[delimiter]} as the delimiter, but line {rows[0][0]} has '
                f'{width}; put names that hold a {DELIMITERS[delimiter]} into double '
                'quotes'
            )
    if problems:
        raise ValueError(problems[0])
    tried = ', '.join(DELIMITERS[delimiter] for delimiter in wanted)
    raise ValueError(f'{table} has one column with a {tried} as delimiter; {EXPECTED}')


def _read_clips(
    table: Path, names: list[str], rows: list[tuple[int, list[str]]]
) -> list[Clip]:
    clips: dict[str, tuple[int, Clip]] = {}
    missing = []
    for number, row in rows:
        values = {name: cell.strip() for name, cell in zip(names, row, strict=True)}
        where = f'{table}, line {number}'
        for name in COLUMNS:
            if name in values and not values[name]:
                raise ValueError(
                    f'{where} has no {name}; fill it in, or, for a group or split that '
                    'no line has, delete the column'
                )
        split = values.get('split')
        if split is not None and split.lower() not in SPLIT_NAMES:
            raise ValueError(
                f'{where} has the split {split!r}; expected train, val or test'
            )
        file = table.parent / values['path']
        if not _is_file(file):
            missing.append(f'line {number}: {values["path"]}')
            continue
        clip = Clip(
            _listed_path(file, table.parent),
            tidy_label(values['label']),
            file,
            values.get('group', ''),
            split and SPLIT_NAMES[split.lower()],
        )
        before, known = clips.setdefault(clip.path, (number, clip))
        if (clip.label, clip.group, clip.split) != (
            known.label,
            known.group,
            known.split,
        ):
            raise ValueError(
                f'{where} names {values["path"]!r} with other values than line '
                f'{before}; delete the wrong line'
            )
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of the {len(rows)} videos in {table} do not exist '
            f'({name_some(missing)}); paths are relative to {table.parent}, with / '
            'between folders, or absolute; a line of column names must have path and '
            'label'
        )
    return [clip for _, clip in clips.values()]


def _is_file(file: Path) -> bool:
    try:
        return os.path.isfile(file)
    except ValueError:  # a zero byte
        return False


def _listed_path(file: Path, root: Path) -> str:
    # Not resolved: links of the user are kept.
    path, root = Path(os.path.abspath(file)), Path(os.path.abspath(root))
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
