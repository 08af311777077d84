# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Text files in UTF-8, with any line endings, and lists of class names."""

import codecs
import io
from pathlib import Path

from mmengine.fileio import exists, get


def read_text(path: str | Path) -> str:
    """Read a text file in UTF-8 and drop its byte order mark.

    Args:
        path: Path of the file, on any storage that mmengine supports.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If the file is not text in UTF-8.
    """
    content = get(str(path))
    fix = 'convert it (iconv -f ENCODING -t UTF-8)'
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f'{path} is UTF-16 or UTF-32, expected UTF-8; {fix}')
    try:
        text = content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        byte = content[error.start]
        raise ValueError(
            f'{path}, line {line}: byte 0x{byte:02x} is not UTF-8, expected text in '
            f'UTF-8; {fix}'
        ) from None
    if '\0' in text:
        line = text.count('\n', 0, text.index('\0')) + 1
        raise ValueError(
            f'{path}, line {line} has a zero byte, like UTF-16 and binary files; '
            f'expected text in UTF-8; {fix}'
        )
    return text


def read_lines(path: str | Path) -> list[str]:
    """Read the lines of a text file without line endings and trailing blank lines.

    See :func:`read_text` for the encoding and the errors.
    """
    text = read_text(path)
    # Why not splitlines(): it also splits at characters that names may contain.
    lines = [line.rstrip('\n') for line in io.StringIO(text, newline=None)]
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def read_class_names(path: str | Path) -> list[str]:
    """Read a file with one class name per line, in the order of the labels.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file has no names or is not in UTF-8, or a name is empty or
            appears twice.
    """
    if not exists(path):
        raise FileNotFoundError(
            f'class names {str(path)!r} do not exist; pass the file that '
            'tools/data/own_videos.py or tools/data/prepare.py wrote, with one class '
            'name per line in the order of the labels'
        )
    names = [name.strip() for name in read_lines(path)]
    if not names:
        raise ValueError(f'{path} is empty; expected one class name per line')
    for label, name in enumerate(names):
        if not name:
            raise ValueError(
                f'{path}, line {label + 1} is empty; expected a class name'
            )
        if names.index(name) != label:
            raise ValueError(
                f'{path}, line {label + 1} repeats {name!r} of line '
                f'{names.index(name) + 1}; list every class once'
            )
    return names
