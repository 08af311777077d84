# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The fenced blocks of the docs, and the commands in them."""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from sybil import Document
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for pattern in ('README.md', 'CONTRIBUTING.md', 'docs/**/*.md', 'examples/**/*.md')
    for page in ROOT.glob(pattern)
)
SHELL = ('shell', 'bash', 'sh', 'console')
# Commands in the prose; a sentence leaves out what does not matter: `...`.
_MENTION = re.compile(r'`((?:bash|make|pip|python|torchrun) [^`]+)`')
_LEXER = RawFencedCodeBlockLexer(re.compile(r'(?P<language>.*)\n'))


class Block(NamedTuple):
    """A fenced block: its language, the line of its fence, and its text."""

    language: str
    line: int
    text: str


class Command(NamedTuple):
    """A command as bash runs it.

    ``variables`` are the set variables whose names start with ``SELFY_``.
    """

    line: int
    variables: list[str]
    words: list[str]


def name_of(page: Path) -> str:
    """Name a page in the ID of a test."""
    return page.relative_to(ROOT).as_posix().removeprefix('docs/')


def folder_of(page: Path) -> Path:
    """The folder in which the commands of a page are run."""
    return page.parent if ROOT / 'examples' in page.parents else ROOT


def blocks(page: Path) -> Iterator[Block]:
    """Find the fenced blocks of a page."""
    document = Document(page.read_text(encoding='utf-8'), str(page))
    for region in _LEXER(document):
        language = region.lexemes['language'].strip()
        line = document.text.count('\n', 0, region.start) + 1
        yield Block(language, line, region.lexemes['source'].text)


def script_of(page: Path) -> str:
    """Join the shell blocks of a page; each line keeps its number on the page."""
    lines: list[str] = []
    for block in blocks(page):
        if block.language in SHELL:
            lines += [''] * (block.line - len(lines))
            lines += block.text.splitlines()
    return '\n'.join(lines) + '\n'


def mentions(page: Path) -> list[Command]:
    """List the commands in the prose of a page, without those that contain ``...``."""
    text = page.read_text(encoding='utf-8')
    for block in blocks(page):
        text = text.replace(block.text, '\n' * block.text.count('\n'))
    found = []
    for match in _MENTION.finditer(text):
        line = text.count('\n', 0, match.start()) + 1
        if '...' not in match[1]:
            found += commands(match[1].replace('\n', ' '), line=line)
    return found


def commands(text: str, arguments: Sequence[str] = (), line: int = 0) -> list[Command]:
    """Let bash read a script and list the commands that it would run.

    Args:
        text: The script.
        arguments: ``$0``, ``$1`` and so on.
        line: Line of all commands. Default: their lines in ``text``.

    Raises:
        ValueError: If bash reports an error, such as an unset variable.
    """
    plugin = ROOT / 'selfy_mmaction'
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, 'record')
        record.touch()
        result = subprocess.run(
            ['bash', '-c', text, *(arguments or ['block'])],
            cwd=folder,  # for files made by >
            env={
                'BASH_ENV': str(ROOT / 'tests' / 'record_commands.sh'),
                'HOME': folder,
                'LC_ALL': 'C',
                'MMACTION': find_spec('mmaction').submodule_search_locations[0],
                'PLUGIN': str(plugin),
                'PYTHONPATH': '',
                'RECORD': str(record),
                **({'DOC_LINE': str(line)} if line else {}),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding='utf-8',
            timeout=20,
        )
        fields = record.read_text(encoding='utf-8').split('\0')[:-1]
    errors = [each for each in result.stderr.splitlines() if not each.startswith('+')]
    if result.returncode or errors:
        raise ValueError('\n'.join(errors) or f'bash returned {result.returncode}')
    # An editable install links `.mim` to the root.
    fields = [each.replace(f'{plugin}{os.sep}.mim', str(ROOT)) for each in fields]
    found = []
    while fields:
        number, variables, count, *fields = fields
        words, fields = fields[: int(count)], fields[int(count) :]
        found.append(Command(int(number), variables.split(), words))
    return found
