# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Everything public or registered has an example in its docstring, which is run."""

import ast
import doctest
import inspect
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import mmaction.registry
import mmengine.registry
import pytest
from doc_blocks import PAGES, blocks
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope, Registry

ROOT = Path(__file__).parents[1]
# Packages whose `__all__` is public.
PACKAGES = (
    'checkpoints',
    'data_preparation',
    'datasets',
    'datasets.transforms',
    'deployment',
    'engine',
    'inference',
    'models',
    'motion_benchmark',
    'ops',
)
# Packages without public names, of which the docs and the tools use some.
USED_BY_TOOLS = ('evaluation', 'live', 'visualization')
USED_BY_DOCS = ('deployment', *USED_BY_TOOLS)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def name_of(thing: Any) -> str:
    return f'{thing.__module__}.{thing.__qualname__}'.removeprefix('selfy_mmaction.')


def exported() -> Iterator[Any]:
    """Find the public classes and functions; constants have no docstring."""
    for package in PACKAGES:
        module = import_module(f'selfy_mmaction.{package}')
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield thing


def registered() -> Iterator[Any]:
    """Find what this package adds to the registries of mmaction2 and mmengine.

    The stand-ins of the workarounds are registered under names of the host.
    """
    for module in (mmaction.registry, mmengine.registry):
        for registry in vars(module).values():
            if isinstance(registry, Registry):
                for thing in registry.module_dict.values():
                    package, _, rest = thing.__module__.partition('.')
                    if package == 'selfy_mmaction' and not rest.startswith('compat.'):
                        yield thing


def imported(source: str, packages: Sequence[str]) -> Iterator[Any]:
    """Find what a script imports from some of our packages."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            package, _, rest = node.module.partition('.')
            if package == 'selfy_mmaction' and rest.split('.')[0] in packages:
                for alias in node.names:
                    yield getattr(import_module(node.module), alias.name)


def used() -> Iterator[Any]:
    """Find the functions that the tools import, and all that the docs import."""
    for path in (ROOT / 'tools').rglob('*.py'):
        source = path.read_text(encoding='utf-8')
        yield from filter(inspect.isfunction, imported(source, USED_BY_TOOLS))
    for page in PAGES:
        for block in blocks(page):
            if block.language == 'python':
                yield from imported(block.text, USED_BY_DOCS)


THINGS = {name_of(thing): thing for thing in (*exported(), *registered(), *used())}


def examples_of(thing: Any) -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(recurse=False)
    return [
        test for test in finder.find(thing, name_of(thing), globs={}) if test.examples
    ]


def run(tests: list[doctest.DocTest]) -> str:
    """Return a report of the failures; it is empty if there are none."""
    MMLogger.get_current_instance()  # else it would log to the output of an example
    runner = doctest.DocTestRunner(verbose=False, optionflags=FLAGS)
    report: list[str] = []
    for test in tests:
        runner.run(test, out=report.append)
    return ''.join(report)


@pytest.mark.parametrize('name', sorted(THINGS))
def test_example(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # As in a new process: without the default scope that conftest.py sets.
    monkeypatch.setattr(DefaultScope, '_instance_dict', OrderedDict())
    tests = examples_of(THINGS[name])
    assert tests, f'the docstring of {name} has no example'
    if report := run(tests):
        pytest.fail(report, pytrace=False)
    assert not [*tmp_path.iterdir()], 'files belong in a TemporaryDirectory'


def test_everything_is_found():
    found = [
        'models.selfy.block.SELFYBlock',
        'models.insertion.insert_blocks.build_with_blocks',
        'datasets.balanced_sampler.BalancedSampler',
        'datasets.transforms.decord_decoding.DecordInit',  # only registered
        'engine.work_dir_lock_hook.WorkDirLockHook',
        'deployment.streaming.StreamingRecognizer',  # only in the docs
        'evaluation.ensemble.fuse',  # only in a tool
    ]
    assert not set(found) - THINGS.keys()


def right():
    """Add.

    Example:
        >>> 1 + 1
        2
    """


def wrong():
    """Add.

    Example:
        >>> 1 + 1
        3
    """


def without_example():
    """Add."""


def test_wrong_and_missing_examples_are_found():
    assert run(examples_of(right)) == ''
    assert 'Expected:\n    3\nGot:\n    2' in run(examples_of(wrong))
    assert examples_of(without_example) == []
