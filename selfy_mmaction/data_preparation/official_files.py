# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Readers of official text, JSON and CSV files, with errors that name the place."""

import csv
import io
import json
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from selfy_mmaction.text_files import read_lines as read_text_lines
from selfy_mmaction.text_files import read_text

# ASCII digits only: int() also accepts digits of other scripts, and "1_0".
INTEGER = re.compile('[0-9]{1,18}')
INTEGRAL = re.compile(r'([0-9]{1,18})(\.0*)?')
# Characters that end a line of a list or cannot be written as UTF-8.
UNWRITABLE = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')

_shortener = reprlib.Repr()
_shortener.maxstring = _shortener.maxother = 80


@dataclass(frozen=True, slots=True)
class Value:
    """Value in a file, with its place.

    The methods convert the value, or raise a ``ValueError`` with the file, the place,
    the value and what was expected.

    Attributes:
        content: The value.
        path: Path of the file.
        place: Place in the file, such as ``('entry 3', 'label')``.
    """

    content: Any
    path: Path
    place: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """File and place, for messages."""
        return ', '.join((str(self.path), *self.place))

    def reject(self, expected: str) -> NoReturn:
        """Raise a ``ValueError`` that names what was expected instead."""
        raise ValueError(
            f'{self.where}: {_shortener.repr(self.content)} cannot be read; expected '
            f'{expected}'
        )

    def part(self, content: Any, place: str) -> 'Value':
        """Return a value that is part of this one."""
        return Value(content, self.path, (*self.place, place))

    def entries(self, at_least: int = 0) -> list['Value']:
        """Return the entries of a list."""
        if not isinstance(self.content, list) or len(self.content) < at_least:
            self.reject('a list' + f' of {at_least} or more' * bool(at_least))
        return [
            self.part(content, f'entry {number}')
            for number, content in enumerate(self.content, start=1)
        ]

    def fields(self) -> dict[str, 'Value']:
        """Return the fields of an object."""
        return {name: self.field(name) for name in self._object()}

    def has(self, name: str) -> bool:
        """Return whether an object has a field."""
        return name in self._object()

    def field(self, *names: str) -> 'Value':
        """Return the first of these fields that an object has."""
        there = [name for name in names if self.has(name)]
        if not there:
            self.reject('the field ' + ' or '.join(f'"{name}"' for name in names))
        return self.part(self.content[there[0]], there[0])

    def _object(self) -> dict[str, Any]:
        if not isinstance(self.content, dict):
            self.reject('an object, {...}')
        return self.content

    def text(self) -> str:
        """Return a line of text, stripped."""
        if not isinstance(self.content, str) or not self.content.strip():
            self.reject('text')
        text = self.content.strip()
        if UNWRITABLE.search(text):
            self.reject('text without control characters')
        return text

    def name(self) -> str:
        """Return a name without spaces; an integer is converted."""
        if type(self.content) is int:
            return str(self.content)
        if not isinstance(self.content, str) or len(self.content.split()) != 1:
            self.reject('a name without spaces')
        return self.text()

    def label(self, num_classes: int, source: str) -> int:
        """Return an integer label, perhaps written as text; floats are rejected.

        Args:
            num_classes: Number of classes.
            source: File that defines the classes, for the message.
        """
        value = self.content
        if isinstance(value, str) and INTEGER.fullmatch(value.strip()):
            value = int(value)
        if type(value) is not int or not 0 <= value < num_classes:
            self.reject(
                f'an integer from 0 to {num_classes - 1}, a label of the {num_classes} '
                f'classes of {source}'
            )
        return value

    def whole_seconds(self) -> int:
        """Return whole seconds from 0, written as text such as ``'5'`` or ``'5.0'``."""
        match = isinstance(self.content, str) and INTEGRAL.fullmatch(
            self.content.strip()
        )
        if not match:
            self.reject('whole seconds from 0')
        return int(match[1])

    def seconds(self) -> float:
        """Return a number of seconds, finite and from 0."""
        value = self.content
        # The limit also keeps float() from failing on huge integers.
        if type(value) not in (int, float) or not 0 <= value < 1e9:
            self.reject('a number of seconds from 0')
        return float(value)


def read_json(path: Path) -> Value:
    """Read a JSON file.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If it is not valid JSON in UTF-8, for example because the download
            was interrupted, or an object has a key twice with different values.
    """
    text = read_text(path)
    try:
        return Value(json.loads(text, object_pairs_hook=_unambiguous), path)
    except RecursionError:
        problem = 'lists or objects are nested too deeply'
    except ValueError as error:
        problem = str(error)
    raise ValueError(f'{path} is not valid JSON ({problem}); download it again')


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if found[key] != value:
                raise ValueError(
                    f'{_shortener.repr(key)} appears twice in one object, with '
                    f'{_shortener.repr(value)} and {_shortener.repr(found[key])}: '
                    'delete the wrong one'
                )
    return found


def read_lines(path: Path, keep_blank: bool = False) -> Iterator[Value]:
    """Read the stripped lines of a text file in UTF-8.

    Args:
        path: Path of the file.
        keep_blank: Whether to keep blank lines except at the end. Default: False.
    """
    for number, line in enumerate(read_text_lines(path), start=1):
        if keep_blank or line.strip():
            yield Value(line.strip(), path, (f'line {number}',))


def read_csv(path: Path, columns: Iterable[str]) -> Iterator[dict[str, Value]]:
    """Read a CSV file with a header line.

    Args:
        path: Path of the file.
        columns: Required columns.

    Yields:
        The values of a row by column.

    Raises:
        ValueError: If it is not valid CSV in UTF-8, a column is missing, or a row has
            more or fewer values than there are columns.
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
                        f'{path}: {wrong if missing else "a column appears twice"}; '
                        f'expected a first line with {",".join(columns)}'
                    )
            elif len(row) == len(header):
                yield {
                    name: line.part(value, name)
                    for name, value in zip(header, row, strict=True)
                }
            elif row:
                line.reject(f'{len(header)} values: {",".join(header)}')
    except csv.Error as error:
        raise ValueError(
            f'{path}, line {reader.line_num} is not valid CSV ({error}); download the '
            'file again'
        ) from None
    if not header:
        raise ValueError(
            f'{path} is empty; expected a first line with {",".join(columns)}'
        )


def distinct_names(path: Path, values: Iterable[Value]) -> tuple[str, ...]:
    """Check that the class names of a file are distinct and return them.

    Raises:
        ValueError: If there are none, or a name is not text or appears twice.
    """
    first: dict[str, Value] = {}
    for value in values:
        before = first.setdefault(value.text(), value)
        if before is not value:
            raise ValueError(
                f'{value.where}: the class {value.text()!r} repeats {before.where}; '
                'download the file again'
            )
    if not first:
        raise ValueError(f'{path} has no classes; download it again')
    return tuple(first)


def label_clips(
    paths: Mapping[str, Path],
    read_clips: Callable[[Path], Iterable[tuple[Value, Any]]],
) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    """Read the label of each clip from the official files.

    Args:
        paths: File of each split.
        read_clips: Function that yields the names and labels of the clips in a file.

    Returns:
        Per split, the label of each clip; and a description of each clip that is
        listed more than once with the same label.

    Raises:
        ValueError: If a file has no clips, or a clip has two labels.
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
                    f'{known!r} in {before.where}; download the files again, or '
                    'delete the wrong one'
                )
            if before is not clip:
                repeated.append(f'{name}: {before.where} and {clip.where}')
            splits[split][name] = label
        if not splits[split]:
            raise ValueError(f'{path} has no clips; download it again')
    return splits, tuple(repeated)
