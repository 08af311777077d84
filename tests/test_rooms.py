# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Subpackages import each other only in the order given in docs/architecture.md."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / 'selfy_mmaction'
# A room (a subpackage or module) may import rooms on the same line and earlier lines.
ORDER = [
    ('atomic_files', 'text_files', 'version'),
    ('compat',),
    ('ops',),
    ('models.layers',),
    ('models.selfy',),
    (
        'models.comparators',
        'models.moss',
        'models.neck',
        'models.heads',
        'models.insertion',
    ),
    ('models.backbones',),
    ('models',),  # models/__init__.py
    ('datasets',),
    ('data_preparation', 'motion_benchmark', 'checkpoints', 'engine'),
    ('evaluation', 'inference'),
    ('visualization', 'deployment'),
    ('live',),
    ('run', 'doctor'),
    ('',),  # the package itself
]
RANKS = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}


def room_of(module: str) -> str:
    parts = module.split('.')
    nested = '.'.join(parts[:2])
    return nested if nested in RANKS else parts[0]


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split('.'))
    return path.is_dir() or path.with_suffix('.py').is_file()


def imports(path: Path) -> set[str]:
    """Return the modules of this package that a file imports, without its prefix."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            folder = ('selfy_mmaction', *path.relative_to(PACKAGE).parent.parts)
            base = folder[: len(folder) + 1 - node.level] if node.level else ()
            module = [node.module] if node.module else []
            # What is imported from a package may be a module of it.
            names = ['.'.join((*base, *module, alias.name)) for alias in node.names]
            names = [
                name if is_module(name) else name.rpartition('.')[0] for name in names
            ]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name == 'selfy_mmaction' or name.startswith('selfy_mmaction.'):
                found.add(name.removeprefix('selfy_mmaction').lstrip('.'))
    return found


def arrows() -> dict[tuple[str, str], str]:
    found = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        here = room_of(module_name(path))
        for module in imports(path):
            if module and room_of(module) != here:
                found[here, room_of(module)] = f'{path.name} imports {module}'
    return found


def test_no_upward_and_no_circular_imports():
    wrong = {
        arrow: why
        for arrow, why in arrows().items()
        if RANKS[arrow[0]] < RANKS[arrow[1]]
    }
    assert not wrong
    pairs = set(arrows())
    assert not {pair for pair in pairs if pair[::-1] in pairs}


def test_few_imports_between_the_rooms_of_the_models():
    rooms = {
        (here, there)
        for here, there in arrows()
        if here.startswith('models.') and there.startswith('models.')
    }
    assert len(rooms) <= 12, rooms


def test_docs_name_every_room():
    text = (PACKAGE.parent / 'docs' / 'architecture.md').read_text()
    for room in RANKS.keys() - {'', 'version', 'models'}:
        folder = room.replace('.', '/')
        assert re.search(rf'`{folder}(/|\.py)`', text), room


def test_no_circle_between_files():
    modules = {module_name(path): path for path in PACKAGE.rglob('*.py')}
    imported = {
        name: imports(path) & set(modules) - {name} for name, path in modules.items()
    }
    # Raises CycleError, which names the circle.
    assert len([*TopologicalSorter(imported).static_order()]) == len(modules)


def test_no_file_is_longer_than_350_lines():
    lengths = {
        path: len(path.read_text().splitlines()) for path in PACKAGE.rglob('*.py')
    }
    assert not {path: length for path, length in lengths.items() if length > 350}
