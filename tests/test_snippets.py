# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Every Python snippet in README, docs and docstrings runs as is."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *ROOT.glob('docs/*.md')]
BLOCK = re.compile(r'^```python\n(.*?)^```', re.DOTALL | re.MULTILINE)


def snippets():
    for page in PAGES:
        text = page.read_text()
        for match in BLOCK.finditer(text):
            line = text[: match.start()].count('\n') + 1
            yield pytest.param(match[1], '.py', id=f'{page.name}-{line}')
    for path in sorted((ROOT / 'selfy_mmaction').rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                docstring = ast.get_docstring(node)
                if docstring and '>>>' in docstring:
                    yield pytest.param(docstring, '.txt', id=f'{path.stem}-{node.name}')


@pytest.mark.parametrize(('text', 'suffix'), snippets())
def test_runs_in_a_bare_process(tmp_path, text, suffix):
    path = tmp_path / f'snippet{suffix}'
    path.write_text(text)
    result = subprocess.run(
        [sys.executable, ROOT / 'tests' / 'run_snippet.py', path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_snippets_are_found():
    assert {page.name for page in PAGES if BLOCK.search(page.read_text())} >= {
        'README.md',
        'mixing.md',
    }
