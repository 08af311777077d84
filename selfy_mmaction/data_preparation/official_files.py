# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Text, JSON and CSV that others wrote: what is malformed is named with its place."""

import csv
import io
import json
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from selfy_mmaction.datasets.text_files import read_lines as read_text_lines
from selfy_mmaction.datasets.text_files import read_text

# Digits of ASCII only: int() also takes those of other scripts, and "1_0".
INTEGER = re.compile('[0-9]{1,18}')
INTEGRAL = re.compile(r'([0-9]{1,18})(\.0*)?')
# What would end a line of a list, or cannot be written as UTF-8.
UNWRITABLE = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')

_shortener = reprlib.Repr()
_shortener.maxstring = _shortener.maxother = 80


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a file, with the place where it is.

    The methods return what they are named after, or raise a ``ValueError`` that names
    file, place, value and expectation.

    Attributes:
        content: The value.
        path: The file.
        place: Way to it in the file, such as ``('entry 3', 'label')``.
    """

    content: Any
    path: Path
    place: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """File and place, for messages."""
        return ', '.join((str(self.path), *self.place))

    def refuse(self, expected: str) -> NoReturn:
        """Raise the error that says what was expected instead."""
        raise ValueError(
            f'{self.where}: {_shortener.repr(self.content)} cannot be read; expected '
            f'{expected}'
        )

    def part(self, content: Any, place: str) -> 'Value':
        """A value that is part of this one."""
        return Value(content, self.path, (*self.place, place))

    def entries(self, at_least: int = 0) -> list['Value']:
        """The entries of a list."""
        if not isinstance(self.content, list) or len(self.content) < at_least:
            self.refuse('a list' + f' of {at_least} or more' * bool(at_least))
        return [
            self.part(content, f'entry {number}')
            for number, content in enumerate(self.content, start=1)
        ]

    def fields(self) -> dict[str, 'Value']:
        """The fields of an object."""
        return {name: self.field(name) for name in self._object()}

    def has(self, name: str) -> bool:
        """Whether an object has a field."""
        return name in self._object()

    def field(self, *names: str) -> 'Value':
        """The first of these fields that an object has."""
        there = [name for name in names if self.has(name)]
        if not there:
            self.refuse('the field ' + ' or '.join(f'"{name}"' for name in names))
        return self.part(self.content[there[0]], there[0])

    def _object(self) -> dict[str, Any]:
        if not isinstance(self.content, dict):
            self.refuse('an object, {...}')
        return self.content

    def text(self) -> str:
        """A line of text, without spaces around it."""
        if not isinstance(self.content, str) or not self.content.strip():
            self.refuse('text')
        text = self.content.strip()
        if UNWRITABLE.search(text):
            self.refuse('text without control characters')
        return text

    def name(self) -> str:
        """A name that a list can hold, or a number that is one."""
        if type(self.content) is int:
            return str(self.content)
        if not isinstance(self.content, str) or len(self.content.split()) != 1:
            self.refuse('a name without spaces')
        return self.text()

    def label(self, num_classes: int, source: str) -> int:
        """The label of one of the classes of a source, perhaps as text; not rounded."""
        value = self.content
        if isinstance(value, str) and INTEGER.fullmatch(value.strip()):
            value = int(value)
        if type(value) is not int or not 0 <= value < num_classes:
            self.refuse(
                f'an integer from 0 to {num_classes - 1}, a label of the {num_classes} '
                f'classes of {source}'
            )
        return value

    def whole_seconds(self) -> int:
        """Whole seconds from 0, written as text, perhaps with a fraction of zeros."""
        match = isinstance(self.content, str) and INTEGRAL.fullmatch(
            self.content.strip()
        )
        if not match:
            self.refuse('whole seconds from 0')
        return int(match[1])

    def seconds(self) -> float:
        """A finite number from 0."""
        value = self.content
        # Nothing lasts longer, and float() fails on integers that are far longer.
        if type(value) not in (int, float) or not 0 <= value < 1e9:
            self.refuse('a number of seconds from 0')
        return float(value)


def read_json(path: Path) -> Value:
    """Read a JSON file.

    Raises:
        OSError: It cannot be opened.
        ValueError: It is no JSON in UTF-8, say because the download was cut short, or
            names a key twice with two values.
    """
    text = read_text(path)
    try:
        return Value(json.loads(text, object_pairs_hook=_unambiguous), path)
    except RecursionError:
        problem = 'lists or objects are nested too deeply'
    except ValueError as error:
        problem = str(error)
    raise ValueError(f'{path} is no valid JSON ({problem}); fetch it again')


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if found[key] != value:
                raise ValueError(
                    f'{_shortener.repr(key)} is named twice in one object, with '
                    f'{_shortener.repr(value)} and {_shortener.repr(found[key])}: '
                    'delete the wrong one'
                )
    return found


def read_lines(path: Path, keep_blank: bool = False) -> Iterator[Value]:
    """Read the lines of a text file in UTF-8, without spaces around them.

    Blank lines are left out; with ``keep_blank`` only those at the end.
    """
    for number, line in enumerate(read_text_lines(path), start=1):
        if keep_blank or line.strip():
            yield Value(line.strip(), path, (f'line {number}',))


def read_csv(path: Path, columns: Iterable[str]) -> Iterator[dict[str, Value]]:
    """Read a CSV file whose first line names the columns.

    Args:
        path: The file.
        columns: Columns that it must have.

    Yields:
        The values of a row by column.

    Raises:
        ValueError: It is no CSV in UTF-8, or lacks a column, or a row has more or
            fewer values than there are columns.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=''), strict=True)
    header: list[str] = []
    try:
        for row in reader:
            line = Value(row, path, (f'line {reader.line_num}',))
            if not header:
                header = [name.strip() for name in row]
                missing = sorted(set(columns) - set(header))
                if missing or len(set(header)) < len(header):
                    wrong = f'column {", ".join(missing)} is missing'
                    raise ValueError(
                        f'{path}: {wrong if missing else "a column is named twice"}; '
                        f'expected a first line with {",".join(columns)}'
                    )
            elif len(row) == len(header):
                yield {
                    name: line.part(value, name)
                    for name, value in zip(header, row, strict=True)
                }
            elif row:
                line.refuse(f'{len(header)} values: {",".join(header)}')
    except csv.Error as error:
        raise ValueError(
            f'{path}, line {reader.line_num}: is no valid CSV ({error}); fetch it again'
        ) from None
    if not header:
        raise ValueError(
            f'{path} is empty; expected a first line with {",".join(columns)}'
        )


def distinct_names(path: Path, values: Iterable[Value]) -> tuple[str, ...]:
    """Class names of a file, each of which must be there once.

    Raises:
        ValueError: There is none, or one is no text, or there twice.
    """
    first: dict[str, Value] = {}
    for value in values:
        before = first.setdefault(value.text(), value)
        if before is not value:
            raise ValueError(
                f'{value.where}: the class {value.text()!r} is named already in '
                f'{before.where}; fetch the file again'
            )
    if not first:
        raise ValueError(f'{path} names no classes; fetch it again')
    return tuple(first)


def label_clips(
    paths: Mapping[str, Path],
    read_clips: Callable[[Path], Iterable[tuple[Value, Any]]],
) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    """Read the label of each clip of the official files, of which it has only one.

    Args:
        paths: The file of each split.
        read_clips: Gives the clips of a file, as they are named, with their labels.

    Returns:
        For each split the label of each clip, and a description of each that is named
        again with the same label.

    Raises:
        ValueError: A file has no clips, or a clip has two labels.
    """
    splits: dict[str, dict[str, Any]] = {}
    first: dict[str, tuple[Value, Any]] = {}
    repeated = []
    for split, path in paths.items():
        splits[split] = {}
        for clip, label in read_clips(path):
            name = clip.name()
            before, known = first.setdefault(name, (clip, label))
            if known != label:
                raise ValueError(
                    f'{clip.where}: clip {name} has the label {label!r}, but '
                    f'{known!r} in {before.where}; fetch the files again, or delete '
                    'the wrong one'
                )
            if before is not clip:
                repeated.append(f'{name}: {before.where} and {clip.where}')
            splits[split][name] = label
        if not splits[split]:
            raise ValueError(f'{path} names no clips; fetch it again')
    return splits, tuple(repeated)
