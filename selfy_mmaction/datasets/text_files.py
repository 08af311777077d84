# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Text files in UTF-8, with any line endings."""

import codecs
import io
from pathlib import Path

from mmengine.fileio import get


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
