# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Every Python snippet in README and docs runs as is."""

import json
import os
import subprocess
import sys

import pytest
from doc_blocks import PAGES, ROOT, blocks, name_of


def snippets():
    for page in PAGES:
        for block in blocks(page):
            if block.language == 'python':
                name = f'{name_of(page)}-{block.line}'
                yield pytest.param(block.text, id=name)


@pytest.fixture(scope='module')
def run():
    """Run a snippet in a process of its own; return whether it ran, and its output."""
    server = subprocess.Popen(
        [sys.executable, ROOT / 'tests' / 'run_snippet.py'],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding='utf-8',
    )

    def run(path):
        print(path, file=server.stdin, flush=True)
        return json.loads(server.stdout.readline())

    with server:
        yield run
        server.stdin.close()


@pytest.mark.parametrize('text', [*snippets()])
def test_runs_in_a_bare_process(run, tmp_path, text):
    path = tmp_path / 'snippet.py'
    path.write_text(text, encoding='utf-8')
    ok, output = run(path)
    assert ok, output


@pytest.mark.parametrize(
    ('text', 'output'),
    [
        ('import torch\ntorch.randn(', 'SyntaxError'),
        ('torch.zeros(1)', "name 'torch' is not defined"),
        ("model = dict(type='Recognizer9D')", 'Recognizer9D'),
        ('raise SystemExit(3)', '3'),
        # Nothing of mmaction2 or of ours is imported for a snippet.
        (
            'import sys\nassert not {"mmaction", "selfy_mmaction"} & {*sys.modules}',
            None,
        ),
        ('from mmengine import MODELS\nassert MODELS.get("SELFYBlock") is None', None),
    ],
)
def test_faults_are_found(run, tmp_path, text, output):
    path = tmp_path / 'snippet.py'
    path.write_text(text)
    ok, printed = run(path)
    assert ok == (output is None), printed
    assert (output or '') in printed


def test_snippets_are_found():
    found = {
        name_of(page)
        for page in PAGES
        if any(block.language == 'python' for block in blocks(page))
    }
    assert found >= {'README.md', 'mixing.md'}
