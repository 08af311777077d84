# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""docs/faithfulness.md names files, code, tests and tolerances that exist.

Files are parsed, not imported. Whether a test holds its sentence, readers must judge.
"""

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / 'docs' / 'faithfulness.md'
# A link, or a name in backticks.
PART = re.compile(r'\[[^\]]*\]\(([^)]+)\)|`([^`]+)`')
# Tests that exist for this page, or that hold the official form.
LISTED = ('test_paper_sentences.py', 'test_models/test_golden.py')


class Row(NamedTuple):
    """A row of a table: the cells by the names of their columns."""

    line: int
    cells: dict[str, str]


def read_rows(page: Path) -> list[Row]:
    """Read the rows of all tables of a page."""
    rows, header = [], []
    for number, line in enumerate(page.read_text(encoding='utf-8').splitlines(), 1):
        if not line.startswith('|'):
            header = []
            continue
        cells = [cell.strip() for cell in line.strip().strip('|').split('|')]
        if not header:
            header = cells
        elif not all(re.fullmatch(':?-+:?', cell) for cell in cells):
            # Missing cells are empty.
            cells += [''] * (len(header) - len(cells))
            rows.append(Row(number, dict(zip(header, cells, strict=True))))
    return rows


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return the names that a Python file defines, with members as ``Class.name``."""
    names = set()

    def collect(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                collect(node.body, f'{node.name}.')
            targets = node.targets if isinstance(node, ast.Assign) else []
            names.update(prefix + x.id for x in targets if isinstance(x, ast.Name))

    collect(ast.parse(path.read_text(encoding='utf-8')).body, '')
    return frozenset(names)


def references(page: Path, cell: str) -> list[tuple[Path | None, list[str]]]:
    """Return each linked file of a cell with the names after it."""
    found: list[tuple[Path | None, list[str]]] = []
    for link, name in PART.findall(cell):
        if link:
            found.append(((page.parent / link).resolve(), []))
        elif found:
            found[-1][1].append(name)
        else:
            found.append((None, [name]))
    return found


def faults_of_cell(page: Path, cell: str, are_tests: bool) -> list[str]:
    faults = []
    found = references(page, cell)
    if not found:
        faults.append('no link')
    for path, names in found:
        if path is None:
            faults.append(f'{names[0]} is before any link')
        elif not path.exists():
            faults.append(f'{path.name} does not exist')
        else:
            defined = names_in(path) if path.suffix == '.py' else frozenset()
            faults += [f'{path.name} has no {x}' for x in names if x not in defined]
            if are_tests and not names:
                faults.append(f'{path.name} without a test')
            if are_tests and not path.name.startswith('test_'):
                faults.append(f'{path.name} is not a file of tests')
            if are_tests:
                faults += [
                    f'{x} is not a test' for x in names if not x.startswith('test_')
                ]
    return faults


def faults_of_tolerance(page: Path, row: Row) -> list[str]:
    """Return what a tolerance names that its tests do not contain."""
    tolerance = row.cells['tolerance']
    quoted = re.findall('`([^`]+)`', tolerance)
    if not quoted and 'exact' not in tolerance:
        return [f'tolerance {tolerance!r} is neither exact nor quoted']
    files = {path for path, _ in references(page, row.cells['test'])}
    texts = [
        path.read_text(encoding='utf-8') for path in files if path and path.exists()
    ]
    return [
        f'no linked test contains {each}'
        for each in quoted
        if not any(each in text for text in texts)
    ]


def faults(page: Path) -> list[str]:
    """Return what is wrong with the tables of a page, with line numbers."""
    found = []
    for row in read_rows(page):
        missing = {'code', 'test', 'tolerance'} - row.cells.keys()
        problems = [f'no column {name}' for name in sorted(missing)]
        if not missing:
            problems += [f'{name} is empty' for name, x in row.cells.items() if not x]
            problems += faults_of_cell(page, row.cells['code'], are_tests=False)
            problems += faults_of_cell(page, row.cells['test'], are_tests=True)
            problems += faults_of_tolerance(page, row)
        found += [f'line {row.line}: {problem}' for problem in problems]
    return found


def test_every_row_names_what_exists():
    assert len(read_rows(PAGE)) > 100
    assert faults(PAGE) == []


@pytest.mark.parametrize('name', LISTED)
def test_every_test_for_the_page_is_on_it(name):
    path = TESTS / name
    cells = [row.cells['test'] for row in read_rows(PAGE)]
    listed = {
        each
        for cell in cells
        for linked, names in references(PAGE, cell)
        if linked == path
        for each in names
    }
    assert listed == {each for each in names_in(path) if each.startswith('test_')}


HEADER = '| the paper says | code | test | tolerance |\n| --- | --- | --- | --- |\n'
CODE = '[code.py](code.py) `Block.forward`, [conf.yml](conf.yml)'
TEST = '[test_it.py](test_it.py) `test_ü`, `test_b`'


@pytest.mark.parametrize(
    ('code', 'test', 'tolerance', 'expected'),
    [
        (CODE, TEST, 'exact', []),
        (CODE, TEST, '`atol=1e-5` of 2', []),
        ('[code.py](code.py) `WIDTH`', TEST, 'exact', []),
        ('[a.py](a.py)', TEST, 'exact', ['a.py does not exist']),
        ('[code.py](code.py) `Blok`', TEST, 'exact', ['code.py has no Blok']),
        ('[code.py](code.py) `forward`', TEST, 'exact', ['code.py has no forward']),
        ('`Block`', TEST, 'exact', ['Block is before any link']),
        ('code', TEST, 'exact', ['no link']),
        (CODE, '[test_it.py](test_it.py)', 'exact', ['test_it.py without a test']),
        (
            CODE,
            '[test_it.py](test_it.py) `helper`',
            'exact',
            ['helper is not a test'],
        ),
        (
            CODE,
            '[test_it.py](test_it.py) `test_c`',
            'exact',
            ['test_it.py has no test_c'],
        ),
        (
            CODE,
            '[code.py](code.py) `test_no`',
            'exact',
            ['code.py is not a file of tests'],
        ),
        (CODE, TEST, '`atol=1e-6`', ['no linked test contains atol=1e-6']),
        (CODE, TEST, 'small', ["tolerance 'small' is neither exact nor quoted"]),
        (CODE, TEST, '', ['tolerance is empty', "'' is neither exact nor quoted"]),
    ],
)
def test_faults_are_found(code, test, tolerance, expected, tmp_path):
    (tmp_path / 'conf.yml').touch()
    (tmp_path / 'code.py').write_text(
        'WIDTH = 3\n\n\nclass Block:\n    def forward(self):\n        pass\n\n\n'
        'def test_no():\n    pass\n'
    )
    (tmp_path / 'test_it.py').write_text(
        'def helper():\n    pass\n\n\ndef test_ü():\n    near(1, 2, atol=1e-5)\n\n\n'
        'def test_b():\n    pass\n',
        encoding='utf-8',
    )
    page = tmp_path / 'page.md'
    row = f'| Größe | {code} | {test} | {tolerance} |\n'
    page.write_text(f'# Page\n\n{HEADER}{row}', encoding='utf-8')
    found = faults(page)
    assert len(found) == len(expected)
    for problem, part in zip(found, expected, strict=True):
        assert problem.startswith('line 5: ')
        assert part in problem


def test_row_that_lost_a_column(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('| a | code |\n| --- | --- |\n| b | c |\n')
    assert faults(page) == ['line 3: no column test', 'line 3: no column tolerance']
